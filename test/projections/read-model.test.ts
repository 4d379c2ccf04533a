import { copyFileSync, existsSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { statusOf } from '../../src/domain/state.ts'
import { addTo, type Totals } from '../../src/projections/batch.ts'
import type { SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { createdRecord, validRun } from '../support/run-records.ts'
import {
  commit,
  eventsOf,
  mixedLog,
  numbered,
  open,
  statesAfter,
  temporaryFiles,
} from './support.ts'

const newFile = temporaryFiles()
const RUN = 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a10'

/** How the log arrives: some events in one commit, and what happens to the process after it. */
const deliveries = fc.array(
  fc.record({
    size: fc.integer({ min: 1, max: 30 }),
    afterwards: fc.constantFrom('continue', 'continue', 'restart', 'crash', 'deliver again'),
  }),
  { minLength: 1, maxLength: 12 },
)

function fail(): never {
  throw new Error('a list that is never empty is empty')
}

/** The file as a process would leave it if it were killed now. */
function copyAsAfterCrash(from: string): string {
  const to = newFile()
  for (const suffix of ['', '-wal']) {
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix)
  }
  return to
}

function expectFoldOf(readModel: SqliteReadModel, log: readonly RecordedEvent[], length: number) {
  const states = statesAfter(log, length)
  for (const event of log) {
    const runId = event.stream.slice('run-'.length)
    expect(readModel.get(runId)?.state ?? null).toEqual(states.get(runId) ?? null)
  }
  const totals: Record<keyof Totals, number> = {}
  for (const { data } of log.slice(0, length)) addTo(totals, JSON.parse(data))
  // Also the costs are exactly the same, although they are fractions.
  expect(readModel.totals).toEqual(totals)
  const counts = Map.groupBy(states.values(), statusOf)
  expect(readModel.statuses()).toEqual(
    new Map([...counts].map(([status, of]) => [status, of.length])),
  )
  expect(readModel.checkpoint?.position ?? null).toBe(log[length - 1]?.position ?? null)
  const unfinished = [...states.values()].filter((state) =>
    ['queued', 'running', 'awaiting_human', 'paused'].includes(statusOf(state)),
  )
  const byId = (a: { runId: string }, b: { runId: string }) => (a.runId < b.runId ? -1 : 1)
  expect(readModel.unfinished().runs.toSorted(byId)).toEqual(
    unfinished
      .map((state) => ({
        runId: state.runId,
        claimant: state.claimant,
        pool: state.pool,
        parent: state.parent?.run_id ?? null,
        resting: ['awaiting_human', 'paused'].includes(statusOf(state)),
        folder:
          state.parent === undefined && state.config.shared === undefined
            ? (state.project?.path ?? state.config.cwd)
            : null,
      }))
      .toSorted(byId),
  )
}

describe('the read model', () => {
  test('is the fold of the log, however it is delivered and whenever the process ends', () => {
    fc.assert(
      fc.property(mixedLog, deliveries, ({ log }, planned) => {
        let file = newFile()
        let readModel = open(file)
        let done = 0
        for (let i = 0; done < log.length; i += 1) {
          const { size, afterwards } = planned[i % planned.length] ?? fail()
          commit(readModel, log.slice(done, done + size))
          done = Math.min(log.length, done + size)
          expectFoldOf(readModel, log, done)
          if (afterwards === 'restart' || afterwards === 'crash') {
            const left = afterwards === 'crash' ? copyAsAfterCrash(file) : file
            readModel.close()
            readModel = open(left)
            file = left
          }
          if (afterwards === 'deliver again') {
            commit(readModel, log.slice(Math.max(0, done - size - 2), done))
          }
          expectFoldOf(readModel, log, done)
        }
        readModel.close()
      }),
      { numRuns: 12 },
    )
  })

  test('names unfinished runs in the order of the log', () => {
    const ids = [3, 1, 2].map((n) => RUN.replace('f7c2', `000${n}`))
    const events = ids.flatMap((id, i) => eventsOf([createdRecord(id, { ts: 5_000 - i })]))
    const readModel = open(newFile())
    commit(readModel, numbered(events))
    expect(readModel.unfinished().runs.map(({ runId }) => runId)).toEqual(ids)
    readModel.close()
  })
})

describe('a damaged run', () => {
  const other = RUN.replace('f7c2', '0000')
  const breakings: Record<string, (event: RecordedEvent) => RecordedEvent> = {
    'data that is no JSON': (event) => ({ ...event, data: '{' }),
    'an unknown kind': (event) => ({ ...event, data: event.data.replace('"kind":"', '"kind":"x') }),
    'a broken chain': (event) => ({
      ...event,
      metadata: event.metadata.replace(/"prev_hash":"[0-9a-f]{8}/, '"prev_hash":"00000000'),
    }),
    'a gap': (event) => ({ ...event, revision: event.revision + 1 }),
    'a record of another run': (event) => ({ ...event, data: event.data.replaceAll(RUN, other) }),
    'a newer schema': (event) => ({
      ...event,
      metadata: event.metadata.replace('"schema":1', '"schema":999'),
    }),
  }

  const sample = fc.sample(validRun(fc.constant(RUN)), { numRuns: 50, seed: 7 })
  const records = sample.find((candidate) => candidate.length > 8) ?? []

  test.each(Object.entries(breakings))(
    'stays as it was before %s, and other runs continue',
    (_, broken) => {
      const events = eventsOf(records)
      const file = newFile()
      const log = numbered([...events, ...eventsOf([createdRecord(other)])])
      const damaged = log.map((event, i) => (i === 4 ? broken(event) : event))
      const readModel = open(file)
      commit(readModel, damaged.slice(0, 6))
      commit(readModel, damaged.slice(6))
      expect(readModel.get(RUN)?.state).toEqual(statesAfter(log, 4).get(RUN))
      expect(readModel.get(other)?.state.seq).toBe(0)
      expect(readModel.damaged.has(RUN)).toBe(true)
      readModel.close()

      const again = open(file)
      expect(again.damaged.has(RUN)).toBe(true)
      expect(again.damaged.has(other)).toBe(false)
      again.close()
    },
  )
})
