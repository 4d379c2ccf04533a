import { parentPort, Worker } from 'node:worker_threads'

/** What a thread can be asked. Arguments and answers are plain data. */
type Operations = { readonly [name: string]: (argument: never) => unknown }

type Question = { readonly operation: string; readonly argument: unknown }

/** A worker thread that answers one question after the other. */
export class Thread<O extends Operations> {
  readonly #worker: Worker
  readonly #ended: Promise<void>
  /** The questions that are not answered, in their order. */
  #unanswered: PromiseWithResolvers<unknown>[] = []
  #lost: Error | null = null

  /** Why it has ended; null while it works. */
  get lost(): Error | null {
    return this.#lost
  }

  /** @param module calls `answerQuestions` */
  constructor(module: URL, workerData: unknown) {
    this.#worker = new Worker(module, { workerData })
    this.#worker.on('message', (answer: unknown) => this.#unanswered.shift()?.resolve(answer))
    this.#worker.once('error', (cause) => this.#lose(cause))
    this.#ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#lose(new Error('its thread has ended'))
        resolve()
      })
    })
  }

  /** Rejects if the thread ends before it has answered. */
  ask<K extends keyof O & string>(
    operation: K,
    argument: Parameters<O[K]>[0],
  ): Promise<ReturnType<O[K]>>
  ask(operation: string, argument: unknown): Promise<unknown> {
    if (this.#lost !== null) return Promise.reject(this.#lost)
    const unanswered = Promise.withResolvers<unknown>()
    this.#unanswered.push(unanswered)
    this.#worker.postMessage({ operation, argument } satisfies Question)
    return unanswered.promise
  }

  /** Ends the thread when everything that was asked before is answered. */
  async end(): Promise<void> {
    this.#worker.postMessage(null)
    await this.#ended
  }

  #lose(cause: Error): void {
    this.#lost ??= cause
    const unanswered = this.#unanswered
    this.#unanswered = []
    for (const { reject } of unanswered) reject(this.#lost)
  }
}

/** Answers the questions to this thread. What an operation throws ends the thread. @param onEnd called at the end */
export function answerQuestions(operations: Operations, onEnd: () => void): void {
  if (parentPort === null) throw new Error('this module is the main module of a worker thread')
  const port = parentPort
  port.on('message', (question: Question | null) => {
    if (question === null) {
      onEnd()
      port.close()
      return
    }
    const { operation, argument } = question
    port.postMessage(operations[operation]?.(argument as never))
  })
}
