import { setImmediate } from 'node:timers/promises'
import type { StreamingRead } from '@eventstore/db-client'
import { isNotLeader, NoAnswer } from './failures.ts'

/** How often a call goes on to the leader that the last server named. */
const MAX_LEADERS = 3

const ignore = (): void => {}

/**
 * Makes a call, again where it met a server that is not the leader and so did nothing. When it fails,
 * the client has already replaced a broken connection, so that calling again makes sense.
 */
export async function call<T>(once: () => Promise<T>): Promise<T> {
  for (let leaders = 1; ; leaders += 1) {
    try {
      return await once()
    } catch (cause) {
      await setImmediate()
      if (!isNotLeader(cause) || leaders >= MAX_LEADERS) throw cause
    }
  }
}

/** Rejects with NoAnswer after `ms`. What the promise does later is nobody's concern any more. */
export async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  const { promise: expiry, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new NoAnswer(`no answer within ${ms} ms`)), ms)
  answer.catch(ignore)
  try {
    return await Promise.race([answer, expiry])
  } finally {
    clearTimeout(timer)
  }
}

/** Reads to the end; leaves no call open on the server, whatever happens. */
export async function collect<E>(ms: number, read: StreamingRead<E>): Promise<E[]> {
  const events: E[] = []
  const timer = setTimeout(() => read.destroy(new NoAnswer(`no answer within ${ms} ms`)), ms)
  read.on('error', ignore)
  try {
    for await (const event of read) events.push(event)
    return events
  } catch (cause) {
    read.cancel().catch(ignore)
    throw cause
  } finally {
    clearTimeout(timer)
  }
}
