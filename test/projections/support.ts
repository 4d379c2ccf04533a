import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import type { RunState } from '../../src/domain/state.ts'
import type { Logger } from '../../src/lib/logger.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { Batch } from '../../src/projections/batch.ts'
import { openReadModel, type SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { prepare } from '../support/append-records.ts'
import { validRun } from '../support/run-records.ts'

export const LOG_ID = '0c9b6a52-8b3f-4c11-9c60-3f6f2a3f7d10'

/** Returns paths in a folder of the test file, which is removed after its tests. */
export function temporaryFiles(): () => string {
  const folder = mkdtempSync(join(tmpdir(), 'retrai-projections-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return () => join(folder, `${randomUUID()}.sqlite`)
}

export type LogLine = {
  readonly level: 'info' | 'warn' | 'error'
  readonly message: string
} & object

/** Collects log lines. */
export function collectingLog(): { readonly log: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const write = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ ...fields, level, message })
  }
  return { lines, log: { info: write('info'), warn: write('warn'), error: write('error') } }
}

/** @param logId null leaves it to a projector to name the log that is projected */
export function open(
  file: string,
  logId: string | null = LOG_ID,
  log = collectingLog().log,
): SqliteReadModel {
  const readModel = openReadModel({ file, log })._unsafeUnwrap()
  if (logId !== null) readModel.adopt(logId)._unsafeUnwrap()
  return readModel
}

/** The events of a run as a store delivers them, without their place in the whole log. */
export function eventsOf(records: readonly RunRecord[]): Omit<RecordedEvent, 'position'>[] {
  const runId = records[0]?.run_id ?? ''
  const { events } = prepare(runId, null, records, { commandId: 'a command' })
  return events.map((event, revision) => ({
    ...event,
    stream: streamOf(runId),
    revision,
    created: 0,
  }))
}

/** Puts events one after the other into one log. */
export function numbered(events: readonly Omit<RecordedEvent, 'position'>[]): RecordedEvent[] {
  return events.map((event, i) => ({ ...event, position: `p${i}` }))
}

/** Several runs, and one log in which their records are mixed. */
export const mixedLog: fc.Arbitrary<{ runs: RunRecord[][]; log: RecordedEvent[] }> = fc
  .tuple(
    fc.uniqueArray(validRun(undefined, { maxMoves: 25 }), {
      minLength: 1,
      maxLength: 5,
      selector: (run) => run[0]?.run_id,
    }),
    fc.infiniteStream(fc.nat()),
  )
  .map(([runs, picks]) => {
    const left = runs.map((run) => eventsOf(run))
    const log: Omit<RecordedEvent, 'position'>[] = []
    for (const pick of picks) {
      const waiting = left.filter((events) => events.length > 0)
      const event = waiting[pick % waiting.length]?.shift()
      if (event === undefined) break
      log.push(event)
    }
    return { runs, log: numbered(log) }
  })

export function commit(readModel: SqliteReadModel, events: readonly RecordedEvent[]): void {
  const batch = new Batch(readModel)
  for (const event of events) batch.add(event)
  const committed = readModel.commit(batch)
  if (committed.isErr()) throw new Error(committed.error.message)
}

/** The states that the first `length` events of a log fold to, by run id. */
export function statesAfter(log: readonly RecordedEvent[], length: number): Map<string, RunState> {
  const records = log.slice(0, length).map(({ data }): RunRecord => JSON.parse(data))
  const runs = [...Map.groupBy(records, ({ run_id }) => run_id).values()]
  return new Map(runs.flatMap((run) => fold(run) ?? []).map((state) => [state.runId, state]))
}
