import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The operations of a process. Arguments and answers are sent as JSON. */
type Operations = Record<string, (argument: never) => unknown>

type Question = { readonly id: number; readonly operation: string; readonly argument: unknown }
type Answer = { readonly id: number; readonly value?: unknown; readonly error?: string }

/** A process of this bench that carries out operations. It ends when it is disposed of. */
export type Peer<O extends Operations> = AsyncDisposable & {
  ask<K extends keyof O & string>(
    operation: K,
    ...argument: Parameters<O[K]>
  ): Promise<Awaited<ReturnType<O[K]>>>
}

/** Starts a module that calls `answerCalls`. */
export async function startPeer<O extends Operations>(
  module: URL,
  args: readonly string[] = [],
  execArgv: readonly string[] = [],
): Promise<Peer<O>> {
  const child = fork(fileURLToPath(module), args, { execArgv: [...execArgv] })
  const exited = once(child, 'exit')
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let lastId = 0
  child.on('message', ({ id, value, error }: Answer) => {
    const waiter = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) waiter?.resolve(value)
    else waiter?.reject(new Error(error))
  })
  child.once('exit', (code, signal) => {
    for (const { reject } of waiting.values())
      reject(new Error(`${module} ended with ${code ?? signal}`))
  })
  const ask = (operation: string, argument?: unknown): Promise<unknown> => {
    lastId += 1
    const waiter = Promise.withResolvers<unknown>()
    waiting.set(lastId, waiter)
    child.send({ id: lastId, operation, argument } satisfies Question)
    return waiter.promise
  }
  await ask('ready')
  const peer = {
    ask,
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
  // Both sides are this bench, so the answer has the type that the operation returns.
  return peer as Peer<O>
}

/** Answers the process that started this one; calls `close` when that process disconnects. */
export function answerCalls<O extends Operations>(
  operations: O,
  close: () => Promise<void> = async () => {},
): void {
  process.on('message', async ({ id, operation, argument }: Question) => {
    const answer = (rest: Omit<Answer, 'id'>): void => void process.send?.({ id, ...rest })
    if (operation === 'ready') return answer({})
    try {
      answer({ value: await operations[operation]?.(argument as never) })
    } catch (error) {
      answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  })
  process.once('disconnect', async () => {
    await close()
    process.exit(0)
  })
}
