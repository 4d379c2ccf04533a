import { setTimeout } from 'node:timers/promises'
import { afterAll, describe, test } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { warnOfMissing } from '../../support/missing.ts'
import { describeEventStoreContract } from '../contract.ts'
import { findRealServer } from './real-server.ts'

const server = await findRealServer()

if (server.type === 'missing') {
  warnOfMissing(
    `a real EventStoreDB (${server.why})`,
    'apt-get install docker.io, or set EVENTSTORE_URL',
  )
  describe.skip('a real EventStoreDB fulfils the contract of an event store', () => {
    test(`there is none: ${server.why}`, () => {})
  })
} else {
  afterAll(() => server.stop())
  describeEventStoreContract('EventStoreDB', async () => {
    const { connectionString } = server
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
