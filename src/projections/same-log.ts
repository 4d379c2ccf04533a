import { err, ok, type Result } from 'neverthrow'
import type { LedgerHeads } from '../log/ledger-heads.ts'
import { ensureLogId, type LogIdError } from '../log/log-id.ts'
import { eventAt } from '../log/stream-pages.ts'
import { REDACTIONS } from '../redaction/redaction-ledger.ts'
import type { EventStore } from '../store/event-store.ts'
import type { Checkpoint } from './batch.ts'
import type { ReadModelFailure } from './read-model-file.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

type LogCheck = {
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  /** What this process has seen of the ledgers; without it, only runs show that the log is another one. */
  readonly ledgers?: LedgerHeads
}

export type LogFailure = LogIdError | ReadModelFailure

/**
 * Starts over if the log is not the one that was projected: another log, one that was restored from a backup, or
 * one that was moved to a store with other positions. Returns why, for a person; null if it is the same.
 */
export async function checkLog(deps: LogCheck): Promise<Result<string | null, LogFailure>> {
  const { store, readModel } = deps
  const logId = await ensureLogId(store)
  if (logId.isErr()) return err(logId.error)
  const before = readModel.generation
  const last = readModel.checkpoint
  const adopted = readModel.adopt(logId.value)
  if (adopted.isErr()) return err(adopted.error)
  if (readModel.generation !== before) return ok('it is another log')
  let missing = await missingRecord(store, last)
  if (missing.isOk() && missing.value === null) missing = await missingEntry(deps)
  if (missing.isOk() && missing.value !== null) readModel.startOver(missing.value)
  return missing
}

/** Why this log is not the one whose event `last` was projected last; null if it is. */
export async function missingRecord(
  store: EventStore,
  last: Checkpoint | null,
): Promise<Result<string | null, LogFailure>> {
  if (last === null) return ok(null)
  const read = await eventAt(store, last.stream, last.revision)
  return read.map((found) => {
    if (found?.id !== last.eventId)
      return 'the log does not hold the last record that was projected'
    if (found.position === last.position) return null
    return 'the log was moved: its records have other positions now'
  })
}

/** Why the ledgers are not those that were seen before: an older backup may lack only entries of ledgers. */
async function missingEntry({
  store,
  readModel,
  ledgers,
}: LogCheck): Promise<Result<string | null, LogFailure>> {
  const { redaction } = readModel
  const isLacking = (ledger: string): string =>
    `the log does not hold the last known entry of its ledger ${ledger}`
  if (redaction >= 0) {
    const last = await eventAt(store, REDACTIONS.stream, redaction)
    if (last.isErr()) return err(last.error)
    if (last.value === null) return ok(isLacking(REDACTIONS.stream))
  }
  if (ledgers === undefined) return ok(null)
  const lacking = await ledgers.lacking(store)
  return lacking.map((ledger) => (ledger === null ? null : isLacking(ledger)))
}
