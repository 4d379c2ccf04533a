import { err, ok, type Result } from 'neverthrow'
import { mayBeSame, REDACTED } from '../../domain/free-text.ts'
import { isWaiting } from '../../domain/state.ts'
import { plainMetadata } from '../../lib/plain-metadata.ts'
import { type RecordMeta, recordHash, uuidOfHash } from '../../log/chain.ts'
import { decodeParsed, type Logged, type LoggedRecord, storedJson } from '../../log/codec.ts'
import { hashOfCall } from '../../log/commitment.ts'
import { NotAsRedacted } from '../../log/redacted-record.ts'
import { foldLogged, type LoadedRun } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'

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

/** A run as far as it is verified. */
export type VerifiedRun = LoadedRun & {
  /** Who started it; null if nobody is named. */
  readonly starter: string | null
  /** The hash of the open question; null if the run asks nothing. */
  readonly question: string | null
  /** The kind of its last record. */
  readonly lastKind: string
}

export type VerifiedRecord = { readonly run: VerifiedRun; readonly logged: LoggedRecord }

/**
 * Verifies the next record of a run. Pure: begin with `null`, and continue with the `run` of each result, which is the
 * run's state and the hash of its last record, as far as they are verified.
 */
export const verifyRecord = (
  runId: string,
  run: VerifiedRun | null,
  record: StoredRecord,
): Result<VerifiedRecord, BadRecord> => verifyNext(runId, run, checkedAlone(record))

/** A record that holds, and the run up to it. */
export type SeenRecord = VerifiedRecord & {
  /** When the store took it, in milliseconds since the epoch. */
  readonly created: number
}

/** A record with all that can be known of it without the other records of its run. */
export type CheckedRecord = {
  readonly seq: number
  readonly alone: Result<LoggedRecord, BadRecord>
}

export function checkedAlone(record: StoredRecord): CheckedRecord {
  const { seq, data, metadata, meta } = record
  const bad = (problem: BadRecord['problem'], message: string): CheckedRecord => {
    return { seq, alone: err({ problem, seq, message }) }
  }
  const alone = decodeParsed({ stream: '', revision: seq }, data, metadata, meta)
  if (alone.isErr()) return bad('unreadable', alone.error.message)
  const changed = whatChanged(record, alone.value)
  return changed === null ? { seq, alone: ok(alone.value) } : bad('changed', changed)
}

/** The rest of `verifyRecord`. */
export function verifyNext(
  runId: string,
  run: VerifiedRun | null,
  { seq: actual, alone }: CheckedRecord,
): Result<VerifiedRecord, BadRecord> {
  const seq = run === null ? 0 : run.state.seq + 1
  const elsewhere = misplaced(actual, seq)
  if (elsewhere !== null) return err(elsewhere)
  if (alone.isErr()) return err(alone.error)
  const logged = alone.value
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  const folded = foldLogged(runId, run, logged)
  if (folded.isErr()) {
    const linked = logged.meta.prev_hash === run?.head || run === null
    return bad(linked ? 'impossible' : 'unlinked', folded.error.message)
  }
  const impossible = run === null ? null : answersProblem(run, logged)
  if (impossible !== null) return bad('impossible', impossible)
  return ok({ run: verifiedRun(run, folded.value, logged), logged })
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

/** @param before null before the first record */
function verifiedRun(
  before: VerifiedRun | null,
  { state, head }: LoadedRun,
  { record, meta }: LoggedRecord,
): VerifiedRun {
  const starter = before === null ? (meta.principal ?? null) : before.starter
  const question = isWaiting(state) ? (before?.question ?? head) : null
  return { state, head, starter, question, lastKind: record.kind }
}

/** Why no server can have recorded this question or answer, beyond what the fold says; null if it can. */
function answersProblem(run: VerifiedRun, { record, meta }: LoggedRecord): string | null {
  switch (record.kind) {
    case 'approval_required':
      return callProblem(run, record.payload.call_sha256)
    case 'human_check_response':
      return shownProblem(run, record.payload.shown_sha256)
    case 'approval_response':
      return shownProblem(run, record.payload.shown_sha256) ?? answererProblem(run, meta.principal)
    default:
      return null
  }
}

/** A person allows or denies a call by its hash. After a redaction of the call, nothing can be compared. */
function callProblem({ state: { phase } }: LoadedRun, named: string): string | null {
  const [call] = phase.type === 'acting' ? phase.pending : []
  if (call === undefined) return 'it asks about no call'
  const actual = hashOfCall(call)
  if (mayBeSame(named, actual) || isRedacted(call)) return null
  return `it names the hash ${named} of the call, and the call has ${actual}`
}

const isRedacted = (call: object): boolean => JSON.stringify(call).includes(REDACTED)

/** Records of earlier versions do not name the hash. */
function shownProblem({ question }: VerifiedRun, shown: string | undefined): string | null {
  if (shown === undefined || shown === question) return null
  return `it names the hash ${shown} of the question, and the question has ${question}`
}

function answererProblem(
  { state: { phase }, starter }: VerifiedRun,
  principal: string | undefined,
): string | null {
  const by = phase.type === 'awaiting_approval' ? phase.content.by : undefined
  if (by !== 'other_than_starter') return null
  if (principal !== undefined && principal !== starter) return null
  return 'the rule asks for an answer by somebody other than the person who started the run, and no such person answered'
}
