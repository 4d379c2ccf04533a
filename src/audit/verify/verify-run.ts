import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import {
  GENESIS,
  type Logged,
  OTHER_TEXT,
  readMeta,
  recordHash,
  uuidOfHash,
} from '../../log/chain.ts'
import { NotAsRedacted } from '../../log/commitment.ts'
import { advance, Impossible, type VerifiedRun } from './possible-run.ts'
import { ReadRecord } from './read-record.ts'

export type { VerifiedRun } from './possible-run.ts'

/** A record or an entry as a store or an export holds it; data and metadata are parsed JSON. */
export type StoredRecord = {
  readonly seq: number
  readonly id: string
  readonly type: string
  readonly data: unknown
  readonly metadata: unknown
}

/** The first record of a run, or entry of a ledger, that does not hold. */
export type BadRecord = {
  /**
   * `missing`: a later record is in its place, or nothing; `added`: a record that does not belong there;
   * `unreadable`: it is not a record; `changed`: it is not what was hashed; `unlinked`: its prev_hash is not
   * the hash of the record before; `impossible`: no run can have it there; `signature`: nobody has signed the entry, or
   * its signature is not valid.
   */
  readonly problem:
    | 'missing'
    | 'added'
    | 'unreadable'
    | 'changed'
    | 'unlinked'
    | 'impossible'
    | 'signature'
  readonly seq: number
  readonly message: string
}

/** A stream as far as it is verified: the seq of its last record (-1 for none), and the hash of that. */
export type ChainEnd = { readonly seq: number; readonly head: string }

type Shape = { readonly kind: string; readonly payload: object }

/**
 * Reads the record that comes next in a stream: it is in its place, its hash is that of its contents and continues the
 * chain, and its id and type fit.
 */
export function nextRecord<R extends Shape>(
  stored: StoredRecord,
  after: ChainEnd,
  stream: string,
  shape: z.ZodType<R>,
): Result<Logged<R>, BadRecord> {
  const seq = after.seq + 1
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  if (stored.seq > seq) {
    return bad(
      'missing',
      `record ${stored.seq} is in its place: it was dropped, or the order was changed`,
    )
  }
  if (stored.seq < seq) {
    return bad(
      'added',
      `record ${stored.seq} is here once more: it was added, or the order was changed`,
    )
  }
  const read = readStored(stored, stream, shape)
  if (read.isOk() && read.value.meta.prev_hash !== after.head) {
    return bad('unlinked', 'its prev_hash is not the hash of the one before it')
  }
  return read
}

/** Reads a record by itself: its hash is that of its contents, and its id and type fit. */
export function readStored<R extends Shape>(
  stored: StoredRecord,
  stream: string,
  shape: z.ZodType<R>,
): Result<Logged<R>, BadRecord> {
  const { seq, data, metadata } = stored
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  if (typeof data === 'string' || typeof metadata === 'string') return bad('unreadable', OTHER_TEXT)
  let logged: Logged<R>
  try {
    logged = { seq, meta: readMeta(metadata, stream), record: shape.parse(data) }
  } catch (cause) {
    return bad(
      'unreadable',
      cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message,
    )
  }
  const changed = whatChanged(stored, logged)
  return changed === null ? ok(logged) : bad('changed', changed)
}

/** What differs from the hash of a record; null if nothing does. */
function whatChanged(stored: StoredRecord, { seq, record, meta }: Logged<Shape>): string | null {
  const { hash } = meta
  // The hash covers what is stored, also what is not read here.
  const actual = hashOf(seq, stored.data as Shape, meta)
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

/** A record that holds, and the run up to it. */
export type VerifiedRecord = Logged<ReadRecord> & { readonly run: VerifiedRun }

const NOTHING = { seq: -1, head: GENESIS }
/** Runs are no ledgers: nobody signs a record. */
const NO_LEDGER = ''

/**
 * Verifies the next record of a run: its place, text, hash, link and id, and whether a run can have it there. Pure: begin
 * with `null`, and continue with the `run` of each result.
 */
export function verifyRecord(
  runId: string,
  run: VerifiedRun | null,
  stored: StoredRecord,
): Result<VerifiedRecord, BadRecord> {
  return nextRecord(stored, run ?? NOTHING, NO_LEDGER, ReadRecord).andThen((logged) => {
    const { seq, record } = logged
    const impossible = (message: string) => err({ problem: 'impossible' as const, seq, message })
    if (record.run_id !== runId) return impossible(`it belongs to the run ${record.run_id}`)
    try {
      return ok({ ...logged, run: advance(run, logged) })
    } catch (cause) {
      if (cause instanceof Impossible) return impossible(cause.message)
      throw cause
    }
  })
}
