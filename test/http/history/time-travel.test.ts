import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import { fold } from '../../../src/domain/evolve.ts'
import { runDetails } from '../../../src/queries/run-details.ts'
import { stateAt } from '../../../src/queries/run-history.ts'
import { ask, changeOf, damage } from '../../support/requests.ts'
import { createdRecord, validRun } from '../../support/run-records.ts'
import { CLAIM, RunWriter, replyWith, resultOf, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { getProblem, writeRun } from './support.ts'

type Fields = Record<string, unknown>

const get = async (server: TestServer, path: string): Promise<Fields> => {
  const { status, body } = await ask(server, `GET /api/runs/${path}`)
  expect([path, status]).toEqual([path, 200])
  return body
}

const Diff = z.looseObject({
  changes: z.array(z.object({ field: z.string(), old: z.unknown(), new: z.unknown() })),
  files: z.array(z.looseObject({ path: z.string(), changed: z.string() })),
})

const diff = async (server: TestServer, runId: string, from: number, to: number) =>
  Diff.parse((await ask(server, `GET /api/runs/${runId}/diff?from=${from}&to=${to}`)).body)

/** Sets the fields that changed. A field that is absent counts as null. */
function patch(details: Fields, changes: z.infer<typeof Diff>['changes']): Fields {
  const copy = structuredClone(details)
  for (const { field, new: value } of changes) {
    const names = field.split('.')
    const last = names.pop() ?? ''
    names.reduce((object, name) => object[name] as Fields, copy)[last] = value
  }
  return known(copy)
}

const known = (fields: Fields): Fields =>
  JSON.parse(JSON.stringify(fields, (_, value) => value ?? undefined))

describe('a run at a record', () => {
  test('is what the server answered at that moment, and differs from others as the server says, for random runs', async ({
    server,
  }) => {
    const run = validRun(fc.constant(''), { maxMoves: 25 })
    const pairsOfPlaces = fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 3 })
    await fc.assert(
      fc.asyncProperty(run, pairsOfPlaces, async (made, pairs) => {
        const runId = randomUUID()
        const writer = new RunWriter(server.store, runId)
        const served: Fields[] = []
        for (const [seq, record] of made.entries()) {
          await writer.append([{ ...record, run_id: runId }])
          expect(await server.readModel.waitFor(runId, seq, 20_000)).toBe(true)
          served.push(await get(server, runId))
        }
        // Backwards, so that snapshots of later records cannot help.
        for (const seq of [...served.keys()].toReversed()) {
          expect(await get(server, `${runId}?at=${seq}`)).toEqual(served[seq])
        }
        for (const pair of pairs) {
          const places = pair.map((place) => place % served.length)
          const [from = 0, to = 0] = places.toSorted((a, b) => a - b)
          const { changes } = await diff(server, runId, from, to)
          expect(patch(served[from] ?? {}, changes)).toEqual(known(served[to] ?? {}))
          for (const { old, new: now } of changes) expect(old).not.toEqual(now)
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

test('what changed between two records names the files that calls between them name', async ({
  server,
  runId,
}) => {
  const patch = { path: 'cart.py', old: 'a', new: 'b' }
  await server.agentDoes(
    runId,
    CLAIM,
    replyWith([{ call_id: 'a', tool: 'file_patch', args: patch }]),
  )
  await server.agentDoes(runId, resultOf('a', 'file_patch'))
  // 5 step_start{act}, 6 tool_call, 7 tool_result
  expect((await diff(server, runId, 5, 7)).files).toEqual([
    { path: 'cart.py', changed: 'yes', calls: [{ seq: 6, tool: 'file_patch', outcome: 'ok' }] },
  ])
  expect((await diff(server, runId, 0, 5)).files).toEqual([])
})
