import { err, ok, type Result, ResultAsync, safeTry } from 'neverthrow'
import type { Checkpoint, LogProof } from '../../api/audit.ts'
import type { TreeHead } from '../../lib/note-check.ts'
import { noteOf } from '../../lib/signed-note.ts'
import { canonicalText } from '../../log/commitment.ts'
import { eventAt, type StreamReader } from '../../log/stream-pages.ts'
import { checkpointEntries } from '../checkpoint-stream.ts'
import { hexOf, proveInclusion } from '../merkle.ts'
import { COSIGNATURE_STREAM, readCosignature, type TimeStamp } from './cosignatures.ts'
import type { OwnLog, OwnLogError } from './own-log.ts'

/**
 * Proves that a checkpoint of a server covers a run: the newest one that witnesses have seen if that covers all of the run
 * that is in checkpoints, and else the newest of all. Null if none covers it.
 */
export const proveInLog = (
  ownLog: OwnLog,
  runId: string,
): ResultAsync<LogProof | null, OwnLogError> =>
  safeTry(async function* () {
    const newest = yield* ownLog.read()
    const { kept } = ownLog
    const size = kept !== null && kept >= coveredFrom(ownLog, runId) ? kept : newest.size
    const note = yield* ownLog.cosigned(ownLog.head(size))
    return proofAt(ownLog, runId, size, noteOf(note))
  })

/** How large the tree was with the first checkpoint that covers all of a run. */
const coveredFrom = ({ followed }: OwnLog, runId: string): number =>
  followed.leaves.get(runId)?.size ?? Number.POSITIVE_INFINITY

/** Leads from a run to a note about a tree by the last checkpoint in that tree; null if that does not cover the run. */
const proofAt = (
  { followed }: OwnLog,
  runId: string,
  size: number,
  note: string,
): ResultAsync<LogProof | null, OwnLogError> =>
  followed.logOf(size).map(async (log) => {
    const proof = log && (await proveInclusion(log, runId))
    if (proof === null) return null
    const { checkpoint, leaf, index: run_index, path: run_path } = proof
    const inclusion = hexOf(followed.tree.inclusion(size - 1, size))
    return { note, index: size - 1, inclusion, checkpoint, leaf, run_index, run_path }
  })

/** A time stamp, and where a run is in the tree whose note it is about. */
export type StampProof = { readonly proof: LogProof; readonly stamp: TimeStamp }

/** The earliest time stamp that covers all records of a run that are in checkpoints; null if there is none yet. */
export const proveStamp = (
  ownLog: OwnLog,
  store: StreamReader,
  runId: string,
): ResultAsync<StampProof | null, OwnLogError> =>
  safeTry(async function* () {
    yield* ownLog.read()
    const { tree } = ownLog.followed
    const first = coveredFrom(ownLog, runId)
    const isOwn = ({ size, root }: TreeHead) => size <= tree.size && tree.root(size).equals(root)
    const stamped = ownLog.stamps.find(({ head }) => head.size >= first && isOwn(head))
    if (stamped === undefined) return ok(null)
    const event = yield* eventAt(store, COSIGNATURE_STREAM, stamped.revision)
    const entry = event && readCosignature(event)
    if (!entry || !('stamp' in entry)) return ok(null)
    const { stamp } = entry
    const proof = yield* proofAt(ownLog, runId, stamped.head.size, stamp.note)
    return ok(proof && { proof, stamp })
  })

/** Hashes in a full tile, and entries in a full bundle (C2SP tlog-tiles). */
const TILE = 256
/** Levels of the tree that a tile has. */
const TILE_HEIGHT = 8
const TILE_PATH = /^(\d|[1-5]\d|6[0-3]|entries)\/((?:x\d{3}\/)*)(\d{3})(?:\.p\/([1-9]\d{0,2}))?$/

/** A tile or a bundle of entries, by its path below `tile/`; null if there is none. */
export function readTile(
  ownLog: OwnLog,
  store: StreamReader,
  path: string,
): ResultAsync<Buffer | null, OwnLogError> {
  const [, level = '', above = '', last = '', width = String(TILE)] = TILE_PATH.exec(path) ?? []
  const index = Number(above.replaceAll(/[x/]/g, '') + last) * TILE
  // A number has one path: without zeros before it.
  const isWhole = !above.startsWith('x000/') && Number(width) <= TILE
  const isThere = level !== '' && isWhole && !path.endsWith(`.p/${TILE}`)
  return ownLog.read().andThen((): ResultAsync<Buffer | null, OwnLogError> => {
    const { tree, revisions } = ownLog.followed
    const hashes = (height: number) => (isThere ? tree.hashes(height, index, Number(width)) : null)
    if (level !== 'entries')
      return new ResultAsync(Promise.resolve(ok(hashes(Number(level) * TILE_HEIGHT))))
    const wanted = hashes(0) && revisions.slice(index, index + Number(width))
    return new ResultAsync(bundle(store, wanted))
  })
}

/** The checkpoints at these revisions, each with its length in two bytes before it. */
async function bundle(
  store: StreamReader,
  revisions: readonly number[] | null,
): Promise<Result<Buffer | null, OwnLogError>> {
  const first = revisions?.[0]
  const last = revisions?.at(-1)
  if (revisions === null || first === undefined || last === undefined) return ok(null)
  const found: Buffer[] = []
  for await (const entry of checkpointEntries(store, { after: first - 1, to: last })) {
    if (entry.isErr()) return err(entry.error)
    const isWanted = 'checkpoint' in entry.value && revisions.includes(entry.value.revision)
    if (isWanted) found.push(bundled(entry.value.checkpoint))
  }
  return ok(Buffer.concat(found))
}

function bundled(checkpoint: Checkpoint): Buffer {
  const content = Buffer.from(canonicalText(checkpoint))
  const length = Buffer.alloc(2)
  length.writeUInt16BE(content.length)
  return Buffer.concat([length, content])
}
