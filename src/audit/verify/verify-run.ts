import { err, ok, type Result } from 'neverthrow'
import type { RunRecord } from '../../domain/records.ts'
import { plainMetadata } from '../../lib/plain-metadata.ts'
import { type RecordMeta, recordHash, uuidOfHash } from '../../log/chain.ts'
import { decodeParsed, type Logged, type LoggedRecord, storedJson } from '../../log/codec.ts'
import { NotAsRedacted } from '../../log/redacted-record.ts'
import { foldLogged, streamOf } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { answersProblem, type VerifiedRun, verifiedRun } from './verify-answers.ts'

/** A record as a store or an export holds it; data and metadata are parsed JSON. */
export type StoredRecord = {
  readonly seq: number
  readonly id: string
  readonly type: string
  readonly data: unknown
  readonly metadata: unknown
  /** The same metadata, if it is known to be valid. */
  readonly meta?: RecordMeta
}

/** The first record of a run that does not hold. */
export type BadRecord = {
  /**
   * `missing`: a later record is in its place, or nothing; `added`: a record that does not belong there;
   * `unreadable`: it is not a record; `changed`: it is not what was hashed; `unlinked`: its prev_hash is not
   * the hash of the record before; `impossible`: no run can have it there.
   */
  readonly problem: 'missing' | 'added' | 'unreadable' | 'changed' | 'unlinked' | 'impossible'
  readonly seq: number
  readonly message: string
}

export type { VerifiedRun } from './verify-answers.ts'
export type VerifiedRecord = { readonly run: VerifiedRun; readonly logged: LoggedRecord }

/**
 * Verifies the next record of a run. Pure: begin with `null`, and continue with the `run` of each result, which is the
 * run's state and the hash of its last record, as far as they are verified.
 * @param isSound whether `isSoundAlone` has returned true for the same record
 */
export function verifyRecord(
  runId: string,
  run: VerifiedRun | null,
  record: StoredRecord,
  isSound = false,
): Result<VerifiedRecord, BadRecord> {
  const seq = run === null ? 0 : run.state.seq + 1
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  const elsewhere = misplaced(record.seq, seq)
  if (elsewhere !== null) return err(elsewhere)
  const decoded = isSound ? ok(soundRecord(record)) : decodeStored(streamOf(runId), record)
  if (decoded.isErr()) return bad('unreadable', decoded.error.message)
  const logged = decoded.value
  const changed = isSound ? null : whatChanged(record, logged)
  if (changed !== null) return bad('changed', changed)
  const folded = foldLogged(runId, run, logged)
  if (folded.isErr()) {
    const linked = logged.meta.prev_hash === run?.head || run === null
    return bad(linked ? 'impossible' : 'unlinked', folded.error.message)
  }
  const impossible = run === null ? null : answersProblem(run, logged)
  if (impossible !== null) return bad('impossible', impossible)
  return ok({ run: verifiedRun(run, folded.value, logged), logged })
}

/** Whether everything holds that needs no other record, and the record is read as it is stored. */
export function isSoundAlone(record: StoredRecord): boolean {
  const decoded = decodeStored('', record)
  if (decoded.isErr() || decoded.value.record !== record.data) return false
  return whatChanged(record, decoded.value) === null
}

const decodeStored = (stream: string, { seq, data, metadata, meta }: StoredRecord) =>
  decodeParsed({ stream, revision: seq }, data, metadata, meta)

const soundRecord = ({ seq, data, metadata }: StoredRecord): LoggedRecord => {
  return { seq, record: data as RunRecord, meta: metadata as RecordMeta }
}

/** What is wrong if the record `actual` is in the place of `seq`; null if it belongs there. */
export function misplaced(actual: number, seq: number): BadRecord | null {
  if (actual === seq) return null
  if (actual > seq) {
    const message = `record ${actual} is in its place: it was dropped, or the order was changed`
    return { problem: 'missing', seq, message }
  }
  const message = `record ${actual} is here once more: it was added, or the order was changed`
  return { problem: 'added', seq, message }
}

/** What differs from the hash of a record; null if nothing does. */
export function whatChanged(
  stored: StoredRecord,
  { seq, record, meta }: Logged<{ readonly kind: string; readonly payload: object }>,
): string | null {
  const { hash } = meta
  // The hash covers what is stored, not what an older schema becomes when it is read.
  const actual = hashOf(seq, stored.data as typeof record, meta)
  if (typeof actual !== 'string') return actual.message
  if (actual !== hash) return `its contents have the hash ${actual}, and its metadata names ${hash}`
  if (stored.id !== uuidOfHash(hash)) return `its id ${stored.id} is not made from its hash`
  if (stored.type !== record.kind)
    return `it is stored as ${stored.type}, and its kind is ${record.kind}`
  return null
}

/** The hash, or why there is no hash: a record without a canonical form was written by no server. */
function hashOf(...args: Parameters<typeof recordHash>): string | { readonly message: string } {
  try {
    return recordHash(...args)
  } catch (cause) {
    if (cause instanceof NotAsRedacted) return { message: cause.message }
    return { message: 'it holds text that has no UTF-8, so it has no hash' }
  }
}

/** The stored record of an event. */
export function storedRecord(event: RecordedEvent): StoredRecord {
  const { revision: seq, id, type } = event
  const data = storedJson(event, event.data)
  const meta = event.altered === true ? null : plainMetadata(event.metadata)
  if (meta !== null) return { seq, id, type, data, metadata: meta, meta }
  return { seq, id, type, data, metadata: storedJson(event, event.metadata) }
}

/** The artifact that a record names; null if it names none. */
export function artifactOf({ record }: LoggedRecord): string | null {
  return record.kind === 'tool_result' ? record.payload.sha256 : null
}
