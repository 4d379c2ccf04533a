import { afterEach, beforeEach, expect, test } from 'vitest'
import { logPages } from '../../src/log/stream-pages.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { append, numbered } from '../store/contract/support.ts'
import { type StandIn, startStandIn } from '../support/eventstore-stand-in/index.ts'

/** More than a subscription reads ahead. */
const EVENTS = 3_000
/** Longer than a page takes, also on a busy machine. */
const SILENT_MS = 2_000

let standIn: StandIn
let store: EventStore
beforeEach(async () => {
  standIn = await startStandIn()
  const { connectionString } = standIn
  store = (await openEventStoreDb({ connectionString }))._unsafeUnwrap()
  await append(store, 'run-a', numbered(EVENTS))
})
afterEach(async () => {
  await store.close()
  await standIn.stop()
})

const fault = {
  'goes away': () => standIn.faults.down(),
  'falls silent': async () => standIn.faults.freeze(),
}

test.for(['goes away', 'falls silent'] as const)(
  'if the store %s midway, the pages end with an error',
  async (what) => {
    const pages = logPages(store, { silentMs: SILENT_MS })[Symbol.asyncIterator]()
    expect((await pages.next()).value?.isOk()).toBe(true)
    await fault[what]()
    const rest = []
    for (let next = await pages.next(); !next.done; next = await pages.next()) rest.push(next.value)
    standIn.faults.thaw()
    expect(rest.at(-1)?._unsafeUnwrapErr()).toMatchObject({
      type: 'store_unavailable',
      message: expect.stringContaining('did not answer for 2 s'),
    })
  },
)

test('if the store comes back in time, no event is missing', async () => {
  let events = 0
  for await (const page of logPages(store)) {
    if (events === 0) standIn.faults.cutConnections()
    events += page._unsafeUnwrap().length
  }
  expect(events).toBe(EVENTS)
})
