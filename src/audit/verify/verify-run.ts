import { err, ok, type Result } from 'neverthrow'
import { recordHash, uuidOfHash } from '../../log/chain.ts'
import { decodeParsed, type Logged, type LoggedRecord, storedJson } from '../../log/codec.ts'
import { NotAsRedacted } from '../../log/redacted-record.ts'
import { foldLogged, type LoadedRun, streamOf } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'

/** A record as a store or an export holds it; data and metadata are parsed JSON. */
export type StoredRecord = {
  readonly seq: number
  readonly id: string
  readonly type: string
  readonly data: unknown
  readonly metadata: unknown
}

/** The first record of a run that is not what it should be. */
export type BadRecord = {
  /**
   * `missing`: a later one stands in its place, or nothing; `added`: one that does not belong there;
   * `unreadable`: no record at all; `changed`: not what was hashed; `unlinked`: its prev_hash is not
   * the hash of the one before; `impossible`: no run can have it there.
   */
  readonly problem: 'missing' | 'added' | 'unreadable' | 'changed' | 'unlinked' | 'impossible'
  readonly seq: number
  readonly message: string
}

export type VerifiedRecord = { readonly run: LoadedRun; readonly logged: LoggedRecord }

/**
 * Verifies the next record of a run. Pure: begin with `null`, and go on with the `run` of each result.
 * What has been verified up to there is the run's state and the hash of its last record.
 */
export function verifyRecord(
  runId: string,
  run: LoadedRun | null,
  record: StoredRecord,
): Result<VerifiedRecord, BadRecord> {
  const seq = run === null ? 0 : run.state.seq + 1
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  const elsewhere = misplaced(record.seq, seq)
  if (elsewhere !== null) return err(elsewhere)
  const decoded = decodeParsed(
    { stream: streamOf(runId), revision: seq },
    record.data,
    record.metadata,
  )
  if (decoded.isErr()) return bad('unreadable', decoded.error.message)
  const logged = decoded.value
  const changed = whatChanged(record, logged)
  if (changed !== null) return bad('changed', changed)
  const folded = foldLogged(runId, run, logged)
  if (folded.isErr()) {
    const linked = logged.meta.prev_hash === run?.head || run === null
    return bad(linked ? 'impossible' : 'unlinked', folded.error.message)
  }
  return ok({ run: folded.value, logged })
}

/** What is wrong where the record `actual` stands in the place of `seq`; null where it belongs there. */
export function misplaced(actual: number, seq: number): BadRecord | null {
  if (actual === seq) return null
  if (actual > seq) {
    const message = `record ${actual} stands in its place: dropped, or the order changed`
    return { problem: 'missing', seq, message }
  }
  const message = `record ${actual} stands here once more: added, or the order changed`
  return { problem: 'added', seq, message }
}

/** Null where the record is what its hash says. */
export function whatChanged(
  stored: StoredRecord,
  { seq, record, meta }: Logged<{ readonly kind: string; readonly payload: object }>,
): string | null {
  const { hash, ...rest } = meta
  // Over what is stored, and not over what an older schema becomes when it is read.
  const actual = hashOf(seq, stored.data as typeof record, rest)
  if (typeof actual !== 'string') return actual.message
  if (actual !== hash) return `its contents have the hash ${actual}, and ${hash} stands beside them`
  if (stored.id !== uuidOfHash(hash)) return `its id ${stored.id} is not made of its hash`
  if (stored.type !== record.kind) return `it is stored as ${stored.type} and says ${record.kind}`
  return null
}

/** Why there is none, for what has no canonical form: no server has written it. */
function hashOf(...args: Parameters<typeof recordHash>): string | { readonly message: string } {
  try {
    return recordHash(...args)
  } catch (cause) {
    if (cause instanceof NotAsRedacted) return { message: cause.message }
    return { message: 'it holds text that has no UTF-8, so no hash can be made of it' }
  }
}

/** The stored record of an event. */
export function storedRecord(event: RecordedEvent): StoredRecord {
  const { revision: seq, id, type } = event
  const data = storedJson(event, event.data)
  return { seq, id, type, data, metadata: storedJson(event, event.metadata) }
}

/** The artifact that a record names; null for none. */
export function artifactOf({ record }: LoggedRecord): string | null {
  return record.kind === 'tool_result' ? record.payload.sha256 : null
}
