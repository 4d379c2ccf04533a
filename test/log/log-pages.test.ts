import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { logPages } from '../../src/log/stream-pages.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { append, newEvent, numbered } from '../store/contract/support.ts'
import { openStore, standIn } from '../store/eventstoredb/support.ts'

/** More than a subscription reads ahead. */
const EVENTS = 3_000

test('if the store goes away or falls silent midway, the pages end with an error', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const place = { stream: 'run-a', revision: 0, position: '1', created: 0 }
  const silent: Pick<EventStore, 'subscribeAll'> = {
    async *subscribeAll({ signal }) {
      yield { type: 'events', events: [{ ...newEvent(), ...place }] }
      yield { type: 'interrupted' }
      await once(signal, 'abort')
    },
  }
  const pages = logPages(silent)[Symbol.asyncIterator]()
  expect((await pages.next()).value?.isOk()).toBe(true)
  const end = pages.next()
  await vi.advanceTimersByTimeAsync(60_000)
  expect((await end).value?._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  expect(await pages.next()).toMatchObject({ done: true })
})

test('if the store comes back in time, no event is missing', async () => {
  const server = await standIn()
  const store = await openStore(server.connectionString)
  await append(store, 'run-a', numbered(EVENTS))
  let events = 0
  for await (const page of logPages(store)) {
    if (events === 0) server.faults.cutConnections()
    events += page._unsafeUnwrap().length
  }
  expect(events).toBe(EVENTS)
})
