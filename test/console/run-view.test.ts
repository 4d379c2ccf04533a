import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { iterationBeside } from '../../web/src/run/moments.ts'
import { EMPTY_VIEW, extend, stateAt } from '../../web/src/run/run-view.ts'
import type { SeqRecord } from '../../web/src/run/seq-record.ts'
import { validRun } from '../support/run-records.ts'

const numbered = (records: readonly RunRecord[]): SeqRecord[] =>
  records.map((record, seq) => ({ ...record, seq }))

const someRun = validRun(undefined, { maxMoves: 120 }).map(numbered)

/** A run and the places where its records are handed over in parts. */
const parted = someRun.chain((records) =>
  fc.tuple(
    fc.constant(records),
    fc.array(fc.nat({ max: records.length }), { maxLength: 8 }).map((cuts) => cuts.sort(byNumber)),
  ),
)
const byNumber = (a: number, b: number): number => a - b

describe('the view of a run', () => {
  test('is the same if its records come at once, in parts, or several times', () => {
    fc.assert(
      fc.property(parted, ([records, cuts]) => {
        let view = EMPTY_VIEW
        let from = 0
        for (const cut of [...cuts, records.length]) {
          // A part may begin with what is known: a connection that resumes too early does no harm.
          view = extend(view, records.slice(Math.max(0, from - 3), cut))
          from = cut
        }
        expect(view).toEqual(extend(EMPTY_VIEW, records))
      }),
    )
  })

  test('has a row of its own for each request whose reply the agent does not use', () => {
    fc.assert(
      fc.property(someRun, (records) => {
        const { rows } = extend(EMPTY_VIEW, records)
        const usages = rows.flatMap((row) => (row.type === 'message' ? [row.usage] : []))
        expect(usages.filter(({ payload }) => payload.purpose !== undefined)).toEqual([])
        const isUnused = (seq: number) => /llm_retry|error/.test(records[seq + 1]?.kind ?? '')
        const beside = records.filter(
          (r) => r.kind === 'llm_usage' && (r.payload.purpose || isUnused(r.seq)),
        )
        const notes = rows.flatMap((row) => (row.type === 'note' ? [row.record] : []))
        expect(notes.filter(({ kind }) => kind === 'llm_usage')).toEqual(beside)
      }),
    )
  })

  test('has the state that the domain folds, at every record', () => {
    fc.assert(
      fc.property(someRun, fc.nat({ max: 10_000 }), (records, any) => {
        const view = extend(EMPTY_VIEW, records)
        const seq = any % records.length
        expect(stateAt(view, seq)).toEqual(fold(records.slice(0, seq + 1)))
        expect(stateAt(view, -1)).toBeNull()
      }),
    )
  })

  test('shows every record in a row, in order, and pairs each call with its own result', () => {
    fc.assert(
      fc.property(someRun, (records) => {
        const { rows, rowOfSeq, broken } = extend(EMPTY_VIEW, records)
        expect(broken).toBeNull()
        expect(rowOfSeq).toHaveLength(records.length)
        expect(rows.map((row) => row.seq)).toEqual(rows.map((row) => row.seq).sort(byNumber))
        for (const record of records) {
          const row = rows[rowOfSeq[record.seq] ?? -1]
          const shown = JSON.stringify(row)
          expect(shown).toContain(`"seq":${record.seq}`)
          if (record.kind !== 'step_start') expect(shown).toContain(JSON.stringify(record.payload))
        }
        for (const row of rows) {
          if (row.type !== 'tool' || row.end === null) continue
          expect(row.end.payload.call_id).toBe(row.call.payload.call_id)
        }
        const answered = rows.filter((row) => row.type === 'tool' && row.end !== null)
        expect(answered).toHaveLength(records.filter(({ kind }) => kind === 'tool_result').length)
      }),
    )
  })

  test('ignores records after a gap, and reports the gap', () => {
    fc.assert(
      fc.property(someRun, fc.nat({ max: 10_000 }), (records, any) => {
        fc.pre(records.length > 2)
        const missing = 1 + (any % (records.length - 2))
        const view = extend(EMPTY_VIEW, records.toSpliced(missing, 1))
        expect(view.records).toHaveLength(missing)
        expect(view.broken?.seq).toBe(missing)
        expect(extend(view, records)).toEqual(view)
      }),
    )
  })

  test('ignores a record that the rules of a run do not allow', () => {
    const [created] = fc.sample(someRun, { numRuns: 1, seed: 1 })[0] ?? []
    if (created === undefined) throw new Error('a run has a first record')
    const view = extend(EMPTY_VIEW, [created, { ...created, seq: 1 }])
    expect(view.records).toEqual([created])
    expect(view.broken).toMatchObject({ seq: 1, message: expect.stringContaining('run_created') })
  })
})

describe('records by place', () => {
  test('moves between iterations, forward and back', () => {
    fc.assert(
      fc.property(someRun, (records) => {
        const view = extend(EMPTY_VIEW, records)
        const forward: number[] = []
        for (let at = iterationBeside(view, 0, 1); at !== null; at = iterationBeside(view, at, 1)) {
          forward.push(at)
        }
        expect(forward).toEqual(view.iterationStarts)
        for (const [index, start] of view.iterationStarts.entries()) {
          expect(iterationBeside(view, start, -1)).toBe(view.iterationStarts[index - 1] ?? 0)
        }
      }),
    )
  })
})
