import { afterEach, beforeEach, expect, test } from 'vitest'
import { missingRight } from '../../src/server/open-history.ts'
import { openStore } from '../store/eventstoredb/support.ts'
import { type StandIn, startStandIn } from '../support/eventstore-stand-in/index.ts'

let server: StandIn
beforeEach(async () => {
  server = await startStandIn()
})
afterEach(() => server.stop())

const open = () => openStore(`esdb://ada:secret@127.0.0.1:${server.port}?tls=false`)

test('the right to write is checked without writing', async () => {
  expect(await missingRight(await open())).toBeNull()
  expect(server.log.all).toEqual([])
})

test.each(['run-', 'retrai-'])(
  'a user who may not write %s is named, with the setting',
  async (prefix) => {
    server.faults.readOnly = prefix
    const missing = await missingRight(await open())
    expect(missing).toContain(`streams named ${prefix}`)
    expect(missing).toContain('the user in EVENTSTORE_URL lacks a right')
    expect(missing).not.toContain('secret')
    expect(server.log.all).toEqual([])
  },
)

test('a store that does not answer does not count as a refusal', async () => {
  const store = await open()
  await server.faults.down()
  expect(await missingRight(store)).toBeNull()
})
