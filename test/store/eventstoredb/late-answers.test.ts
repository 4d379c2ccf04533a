import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { append, newEvent } from '../contract/support.ts'
import { openStore, standIn } from './support.ts'

const TIMEOUT_MS = 100
const LAST = { from: 'end', direction: 'backward', limit: 1 } as const

/** Blocks this process, as on an overloaded machine. */
function stall(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

test('a store closes even if the answer to a read arrived as the read was given up', async () => {
  const { connectionString, calls } = await standIn()
  const patient = await openStore(connectionString)
  await append(patient, 'run-1', [newEvent()], 'no_stream')
  let givenUp = 0
  // It is not known how many turns the answer takes from the stand-in to the client, so several numbers are tried.
  for (let turns = 0; turns < 12; turns += 1) {
    const opened = await openEventStoreDb({ connectionString, timeoutMs: TIMEOUT_MS })
    const store = opened._unsafeUnwrap()
    const sent = calls.eventsSent
    const read = store.readStream('run-1', LAST)
    while (calls.eventsSent === sent) await setImmediate()
    for (let turn = 0; turn < turns; turn += 1) await setImmediate()
    stall(2 * TIMEOUT_MS)
    if ((await read).isErr()) givenUp += 1
    await store.close()
  }
  expect(givenUp).toBeGreaterThan(0)
})
