import { Worker } from 'node:worker_threads'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'
import type { StoreFailure } from '../event-store.ts'
import type { Opening } from './messages.ts'

/** One of the two threads that have the file open. */
export class Thread<Request, Reply extends { readonly type: string }> {
  readonly #worker: Worker
  readonly #opened: Promise<Result<void, StoreFailure>>
  readonly #ended: Promise<void>

  /**
   * @param script main module of the thread
   * @param onLost called when the thread has ended, by itself or because it was asked to
   */
  constructor(
    script: URL,
    file: string,
    onReply: (reply: Reply) => void,
    onLost: (failure: StoreFailure) => void,
  ) {
    const worker = new Worker(script, { workerData: file })
    this.#worker = worker
    this.#ended = new Promise((resolve) => worker.once('exit', () => resolve()))
    this.#opened = new Promise((resolve) => {
      worker.on('message', (message: Opening | Reply) => {
        if (!isOpening(message)) onReply(message)
        else resolve(message.type === 'opened' ? ok() : err(message.failure))
      })
      const lost = (reason: string): void => {
        const message = `the event store ${file} broke down (${reason}): start the server again`
        const failure = { type: 'store_failed', message } as const
        resolve(err(failure))
        onLost(failure)
      }
      worker.once('error', (error) => lost(messageOf(error)))
      worker.once('exit', () => lost('its thread has ended'))
    })
  }

  opened(): ResultAsync<void, StoreFailure> {
    return new ResultAsync(this.#opened)
  }

  send(request: Request): void {
    this.#worker.postMessage(request)
  }

  /** Resolves when the thread has closed the file and ended. */
  ended(): Promise<void> {
    return this.#ended
  }
}

function isOpening(message: { readonly type: string }): message is Opening {
  return message.type === 'opened' || message.type === 'refused'
}
