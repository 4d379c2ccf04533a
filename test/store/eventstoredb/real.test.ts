import { setTimeout } from 'node:timers/promises'
import { describe, test } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { warnOfMissing } from '../../support/missing.ts'
import { describeEventStoreContract } from '../contract.ts'

const { EVENTSTORE_URL: connectionString } = process.env

if (connectionString === undefined) {
  warnOfMissing('a real EventStoreDB', 'set EVENTSTORE_URL')
  describe.skip('a real EventStoreDB fulfils the contract of an event store', () => {
    test('EVENTSTORE_URL names none', () => {})
  })
} else {
  describeEventStoreContract('EventStoreDB', async () => {
    const store = (await openEventStoreDb({ connectionString }))._unsafeUnwrap()
    await untilItAnswers(store)
    return { store, close: () => store.close() }
  })
}

/** A node that has just been started is not its own leader at once. */
async function untilItAnswers(store: EventStore): Promise<void> {
  for (let attempt = 0; attempt < 120; attempt += 1) {
    if ((await store.ping()).isOk()) return
    await setTimeout(500)
  }
  throw new Error('the EventStoreDB does not answer')
}
