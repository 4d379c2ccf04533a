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

/**
 * Reads to the end; leaves no call open on the server, whatever happens. What comes too late is still
 * taken: the client waits for ever for the end of a call whose answers nobody reads.
 */
export async function collect<E>(ms: number, read: StreamingRead<E>): Promise<E[]> {
  const events: E[] = []
  const { promise, resolve, reject } = Promise.withResolvers<E[]>()
  read
    .on('error', reject)
    .on('end', () => resolve(events))
    .on('close', () => reject(new Error('the read was closed')))
    .on('data', (event: E) => events.push(event))
  try {
    return await within(ms, promise)
  } catch (cause) {
    read.cancel().catch(ignore)
    throw cause
  }
}
