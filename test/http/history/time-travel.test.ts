import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { fold } from '../../../src/domain/evolve.ts'
import { runDetails } from '../../../src/queries/run-details.ts'
import { stateAt } from '../../../src/queries/run-history.ts'
import { ask, changeOf, damage } from '../../support/requests.ts'
import { createdRecord, validRun } from '../../support/run-records.ts'
import { RunWriter, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { getProblem, writeRun } from './support.ts'

const get = async (server: TestServer, path: string): Promise<unknown> => {
  const { status, body } = await ask(server, `GET /api/runs/${path}`)
  expect([path, status]).toEqual([path, 200])
  return body
}

describe('a run at a record', () => {
  test('is what the server answered at that moment, for random runs and all their records', async ({
    server,
  }) => {
    await fc.assert(
      fc.asyncProperty(validRun(fc.constant(''), { maxMoves: 25 }), async (made) => {
        const runId = randomUUID()
        const writer = new RunWriter(server.store, runId)
        const served: unknown[] = []
        for (const [seq, record] of made.entries()) {
          await writer.append([{ ...record, run_id: runId }])
          expect(await server.readModel.waitFor(runId, seq, 20_000)).toBe(true)
          served.push(await get(server, runId))
        }
        // Backwards, so that snapshots of later records cannot help.
        for (const seq of [...served.keys()].toReversed()) {
          expect(await get(server, `${runId}?at=${seq}`)).toEqual(served[seq])
        }
      }),
      { numRuns: 8 },
    )
  })

  test('is looked up from the end of the run, not by counting down from the requested seq', async ({
    server,
    runId,
  }) => {
    const far = 500_000_000_000
    expect((await stateAt(runId, far, server))._unsafeUnwrapErr().type).toBe('record_not_found')
    const none = await stateAt(randomUUID(), far, server)
    expect(none._unsafeUnwrapErr().type).toBe('stream_not_found')
    // Counting takes a minute, a look at the end of the run some milliseconds.
  }, 15_000)

  test('reports unknown runs, and records that cannot be read', async ({ server }) => {
    for (const runId of [randomUUID(), 'nope']) {
      expect((await getProblem(server, `/api/runs/${runId}?at=0`)).code).toBe('run_not_found')
    }
    const runId = await server.createRun()
    await damage(server, runId, 1)
    expect((await getProblem(server, `/api/runs/${runId}?at=1`)).code).toBe('damaged_record')
  })

  test('is found in a long run, whatever was read before', async ({ server }) => {
    const runId = randomUUID()
    const changes = Array.from({ length: 2600 }, (_, i) => changeOf(runId, `model ${i}`))
    const records = [createdRecord(runId), ...changes]
    await writeRun(server, runId, records)
    for (const seq of [2600, 1001, 1000, 999, 2001, 0, 2600, 1500, 1]) {
      const state = fold(records.slice(0, seq + 1))
      if (state === null) throw new Error('a run has a state')
      expect(await get(server, `${runId}?at=${seq}`)).toEqual(runDetails(state))
    }
  })
})
