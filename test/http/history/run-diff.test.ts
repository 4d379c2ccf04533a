import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import { fold } from '../../../src/domain/evolve.ts'
import { runDetails } from '../../../src/queries/run-details.ts'
import { ask } from '../../support/requests.ts'
import { validRun } from '../../support/run-records.ts'
import { CLAIM, replyWith, resultOf, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { writeRun } from './support.ts'

const Diff = z.looseObject({
  changes: z.array(z.object({ field: z.string(), old: z.unknown(), new: z.unknown() })),
  files: z.array(z.looseObject({ path: z.string(), changed: z.string() })),
})

const diff = async (server: TestServer, runId: string, from: number, to: number) =>
  Diff.parse((await ask(server, `GET /api/runs/${runId}/diff?from=${from}&to=${to}`)).body)

/** Sets the fields that changed. */
function patch(details: object, changes: z.infer<typeof Diff>['changes']): unknown {
  const copy: Fields = structuredClone({ ...details })
  for (const { field, new: value } of changes) {
    const names = field.split('.')
    const last = names.pop() ?? ''
    const place = names.reduce((object, name) => object[name] as Fields, copy)
    // A field that is absent counts as null.
    if (value === null && OPTIONAL.has(field)) delete place[last]
    else place[last] = value
  }
  return copy
}

type Fields = Record<string, unknown>
const OPTIONAL: ReadonlySet<string> = new Set(['queued_reason', 'progress.stuck', 'summary'])

describe('what changed between two records', () => {
  test('turns the earlier state into the later one', async ({ server }) => {
    const cuts = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    )
    await fc.assert(
      fc.asyncProperty(validRun(), cuts, async (made, shares) => {
        const runId = randomUUID()
        const records = made.map((record) => ({ ...record, run_id: runId }))
        await writeRun(server, runId, records)
        const [from = 0, to = 0] = shares
          .map((share) => Math.floor(share * (records.length - 1)))
          .toSorted((a, b) => a - b)
        const { changes } = await diff(server, runId, from, to)
        const at = (seq: number) => {
          const state = fold(records.slice(0, seq + 1))
          if (state === null) throw new Error('a run has a state')
          return JSON.parse(JSON.stringify(runDetails(state))) as Record<string, unknown>
        }
        expect(patch(at(from), changes)).toEqual(at(to))
        for (const { old, new: now } of changes) expect(old).not.toEqual(now)
      }),
      { numRuns: 10 },
    )
  })

  test('names the files that calls between them name', async ({ server, runId }) => {
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
})
