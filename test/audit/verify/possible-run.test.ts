import fc from 'fast-check'
import { expect, test } from 'vitest'
import { foldStored, storedRecord } from '../../../src/audit/stored-events.ts'
import { type VerifiedRun, verifyRecord } from '../../../src/audit/verify/verify-run.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import type { LoadedRun } from '../../../src/log/run-log.ts'
import { chained, validRun } from '../../support/run-records.ts'

/** A history in which no records, or some, were dropped, doubled, exchanged or given another payload of their kind, and chained again. */
const history = fc
  .tuple(
    validRun(undefined, { maxMoves: 40 }),
    fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(3)), { maxLength: 2 }),
  )
  .map(([records, changes]) => ({
    records: changes.reduce<readonly RunRecord[]>(
      (before, [one, other, how]) => changed(before, one, other, how),
      records,
    ),
    isChanged: changes.length > 0,
  }))

function changed(records: readonly RunRecord[], one: number, other: number, how: number) {
  const [i, j] = [one % records.length, other % records.length]
  const a = records[i]
  const b = records[j]
  if (a === undefined || b === undefined) return records
  switch (how) {
    case 0:
      return records.toSpliced(i, 1)
    case 1:
      return records.toSpliced(i, 0, b)
    case 2:
      return records.with(i, b).with(j, a)
    default:
      return a.kind === b.kind
        ? records.with(i, { ...a, payload: b.payload } as RunRecord)
        : records
  }
}

test('the verifier refuses no history of commands, and few others, and knows the same of a run as a server', () => {
  let refused = 0
  fc.assert(
    fc.property(history, ({ records, isChanged }) => {
      let run: VerifiedRun | null = null
      let folded: LoadedRun | null = null
      const runId = records[0]?.run_id ?? ''
      for (const each of chained(runId, records).map(({ event }) => storedRecord(event))) {
        const ours: ReturnType<typeof verifyRecord> = verifyRecord(runId, run, each)
        const theirs: ReturnType<typeof foldStored> = foldStored(runId, folded, each)
        if (ours.isErr() || theirs.isErr()) {
          expect(isChanged, JSON.stringify(each.data)).toBe(true)
          if (ours.isErr()) refused += 1
          return
        }
        run = ours.value.run
        folded = theirs.value
        const { state, head } = theirs.value
        expect(run).toMatchObject({
          runId: state.runId,
          seq: state.seq,
          head,
          parent: state.parent ?? null,
          ended: state.phase.type === 'ended',
        })
      }
    }),
    { numRuns: 150 },
  )
  expect(refused).toBeGreaterThan(25)
})
