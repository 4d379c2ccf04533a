import { err, ok, type Result } from 'neverthrow'
import { RunRecord } from '../domain/records.ts'
import { decodeParsed, storedJson } from '../log/codec.ts'
import { foldLogged, type LoadedRun } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'
import { type LineFormat, lineOf } from './bundle/record-lines.ts'
import type { BadRecord, StoredRecord } from './verify/verify-run.ts'

/** The record in an event of a store, as a verifier gets it. */
export function storedRecord(event: RecordedEvent): StoredRecord {
  const { revision: seq, id, type } = event
  const [data, metadata] = [event.data, event.metadata].map((text) => storedJson(event, text))
  return { seq, id, type, data, metadata }
}

/** The line of an event, as an export or a ledger has it. */
export const eventLine = (event: RecordedEvent, format: LineFormat): string =>
  lineOf({ ...storedRecord(event), created: event.created }, format)

/**
 * Folds a record that holds as a server does. So it is found, too, if a server could not read the record, and what the
 * server keeps of the run can be compared with its records.
 */
export function foldStored(
  runId: string,
  run: LoadedRun | null,
  { seq, data, metadata }: StoredRecord,
): Result<LoadedRun, BadRecord> {
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  const logged = decodeParsed(RunRecord, { stream: '', revision: seq }, data, metadata)
  if (logged.isErr()) return bad('unreadable', logged.error.message)
  const folded = foldLogged(runId, run, logged.value)
  return folded.isErr() ? bad('impossible', folded.error.message) : ok(folded.value)
}
