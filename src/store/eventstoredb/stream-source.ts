import { BACKWARDS, END, type EventStoreDBClient, START } from '@eventstore/db-client'
import { call, collect } from './calls.ts'
import { READ_AHEAD } from './connection.ts'
import { readError } from './failures.ts'
import type { Source } from './source.ts'

/** One stream. A place is a revision. */
export function streamSource(
  client: EventStoreDBClient,
  stream: string,
  timeoutMs: number,
): Source<bigint> {
  return {
    name: stream,
    connect: (after) =>
      client.subscribeToStream(
        stream,
        { fromRevision: after ?? START, requiresLeader: true },
        { highWaterMark: READ_AHEAD },
      ),
    placeOf: (event) => event.revision,
    isBehind: (place, other) => other === null || place > other,
    head: async () => {
      const last = { direction: BACKWARDS, fromRevision: END, maxCount: 1 } as const
      const options = { ...last, requiresLeader: true }
      try {
        const events = await call(() => collect(timeoutMs, client.readStream(stream, options)))
        return events[0]?.event?.revision ?? null
      } catch (cause) {
        if (readError(cause, stream).type === 'stream_not_found') return null
        throw cause
      }
    },
  }
}
