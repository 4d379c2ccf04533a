import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FileChanges } from '../../src/domain/file-changes.ts'
import { changesIn, changesUpTo } from '../../web/src/panels/changes.ts'
import { EMPTY_VIEW, extend } from '../../web/src/run/run-view.ts'
import { validRun } from '../support/run-records.ts'

test('what was changed up to a record is what the domain collects from the records up to there', () => {
  const run = validRun(undefined, { maxMoves: 200 })
  fc.assert(
    fc.property(run, fc.nat({ max: 10_000 }), (records, any) => {
      const numbered = records.map((record, seq) => ({ ...record, seq }))
      const moment = any % records.length
      const collected = new FileChanges()
      for (const record of numbered.slice(0, moment + 1)) collected.add(record.seq, record)
      const [files, commands] = [collected.files(), collected.commands()]
      const calls = new Set(
        [...files.flatMap((file) => file.calls), ...commands].map(({ seq }) => seq),
      )
      const failed = numbered.slice(0, moment + 1).filter((record) => {
        if (record.kind !== 'tool_result' || record.payload.outcome === 'ok') return false
        const call = numbered.findLast(({ seq, kind }) => seq < record.seq && kind === 'tool_call')
        return calls.has(call?.seq ?? -1)
      })

      const changes = changesUpTo(changesIn(extend(EMPTY_VIEW, numbered)), moment)
      expect(
        new Map(changes.files.map(({ path, changed, count }) => [path, [changed, count]])),
      ).toEqual(
        new Map(
          files
            .filter(({ changed }) => changed !== 'no')
            .map(({ path, changed, calls }) => [path, [changed, calls.length]]),
        ),
      )
      expect(changes.commands).toBe(commands.length)
      expect(changes.failed).toEqual(failed.map(({ seq }) => seq))
    }),
  )
})
