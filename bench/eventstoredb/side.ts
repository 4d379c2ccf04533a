import { randomUUID } from 'node:crypto'
import { EventStoreDBClient, jsonEvent } from '@eventstore/db-client'
import type { NewEvent } from '../../src/store/event-store.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { must } from '../loop/must.ts'

/** One way to use an EventStoreDB: ours, or the bare client's. */
export type Side = {
  /** Appends one event of 1 KB. @returns its revision */
  append(stream: string, expected: number | 'no_stream'): Promise<number>
  /** Reads a page forward. @returns how many events it has */
  page(stream: string, from: number, limit: number): Promise<number>
  /** Follows a stream from its start, up to a revision. */
  catchUp(stream: string, last: number): Promise<void>
  close(): Promise<void>
}

const VALUE = { text: 'x'.repeat(980) }
const DATA = JSON.stringify(VALUE)
const METADATA = { schema: 1 }

const newEvent = (): NewEvent => {
  return { id: randomUUID(), type: 'tool_result', data: DATA, metadata: JSON.stringify(METADATA) }
}

export async function openOurs(connectionString: string): Promise<Side> {
  const store = must(await openEventStoreDb({ connectionString }))
  return {
    append: async (stream, expectedRevision) =>
      must(await store.append(stream, [newEvent()], { expectedRevision })).revision,
    page: async (stream, from, limit) =>
      must(await store.readStream(stream, { from, direction: 'forward', limit })).length,
    catchUp: async (stream, last) => {
      const stop = new AbortController()
      const subscription = store.subscribeStream(stream, { after: -1, signal: stop.signal })
      for await (const item of subscription) {
        if (item.type === 'events' && item.events.at(-1)?.revision === last) break
      }
      stop.abort()
    },
    close: () => store.close(),
  }
}

/** @param isBatched whether its appends share one call, as they do by default */
export function openBare(connectionString: string, isBatched: boolean): Side {
  const client = EventStoreDBClient.connectionString(connectionString)
  if (!isBatched) Object.assign(client, { supports: async () => false })
  return {
    append: async (stream, expected) => {
      const event = jsonEvent({ type: 'tool_result', data: VALUE, metadata: METADATA })
      const expectedRevision = typeof expected === 'number' ? BigInt(expected) : expected
      const appended = await client.appendToStream(stream, event, { expectedRevision })
      return Number(appended.nextExpectedRevision)
    },
    page: async (stream, from, limit) => {
      let events = 0
      const options = { fromRevision: BigInt(from), maxCount: limit }
      for await (const _ of client.readStream(stream, options)) events += 1
      return events
    },
    catchUp: async (stream, last) => {
      const subscription = client.subscribeToStream(stream)
      for await (const { event } of subscription) if (event?.revision === BigInt(last)) break
      await subscription.unsubscribe()
    },
    close: () => client.dispose(),
  }
}
