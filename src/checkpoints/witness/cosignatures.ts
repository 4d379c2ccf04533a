import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { OWN_STREAM_PREFIX, Sha256, Timestamp } from '../../domain/fields.ts'
import { readTreeNote, type SignedNote, type TreeNote } from '../../lib/note-check.ts'
import { noteOf } from '../../lib/signed-note.ts'
import { storedValue } from '../../log/codec.ts'
import { type StreamReader, streamPages } from '../../log/stream-pages.ts'
import type { NewEvent, RecordedEvent, StoreFailure } from '../../store/event-store.ts'
import { event } from '../checkpoint-stream.ts'

/** What witnesses and an authority for time stamps have signed is in the log, so that backups and copies have it. Each signature speaks for itself. */
export const COSIGNATURE_STREAM = `${OWN_STREAM_PREFIX}cosignatures`

const COSIGNED = 'cosigned'
const LEFT = 'origin_left'
const STAMPED = 'stamped'
const Cosigned = z.strictObject({ note: z.string(), keys: z.array(Sha256).readonly() })
const Left = z.strictObject({ origin: z.string(), size: z.int().nonnegative() })
const Stamped = z.strictObject({
  note: z.string(),
  /** DER. */
  token: z.base64(),
  /** The certificates of the authority, in PEM: from the one that has signed to the one that was trusted. */
  chain: z.string(),
  /** The name of the first of them, and the time in the token. */
  name: z.string(),
  at: Timestamp,
})

/** A tree of which a witness has seen more than the log had later, and how much. */
export type FormerTree = z.infer<typeof Left>
/** `keys`: fingerprints of those whose checkpoints are in the tree. */
export type CosignedNote = TreeNote & { readonly keys: readonly string[] }
/** A time stamp over the text of a note about a tree, and where it is in the stream. */
export type TimeStamp = z.infer<typeof Stamped>
export type StampedTree = Pick<TreeNote, 'head'> & {
  readonly stamp: TimeStamp
  readonly revision: number
  /** When it was appended, milliseconds since the epoch. */
  readonly created: number
}

export const cosignedEvent = (note: SignedNote, keys: readonly string[]): NewEvent =>
  event(COSIGNED, { note: noteOf(note), keys })
export const leftEvent = (former: FormerTree): NewEvent => event(LEFT, former)
export const stampedEvent = (stamp: TimeStamp): NewEvent => event(STAMPED, stamp)

type CosignatureEntry = CosignedNote | FormerTree | StampedTree

/** What the stream holds, apart from what cannot be read: then nobody has signed it. Ends after an error. */
export async function* cosignatureEntries(
  store: StreamReader,
): AsyncGenerator<Result<CosignatureEntry, StoreFailure>> {
  for await (const page of streamPages(store, COSIGNATURE_STREAM)) {
    if (page.isErr() && page.error.type !== 'stream_not_found') yield err(page.error)
    for (const stored of page.unwrapOr([])) {
      const entry = readCosignature(stored)
      if (entry !== null) yield ok(entry)
    }
  }
}

export function readCosignature(stored: RecordedEvent): CosignatureEntry | null {
  try {
    const value = storedValue(stored)
    if (stored.type === LEFT) return Left.parse(value)
    if (stored.type === STAMPED) {
      const stamp = Stamped.parse(value)
      const head = readTreeNote(stamp.note)?.head
      return head === undefined
        ? null
        : { head, stamp, revision: stored.revision, created: stored.created }
    }
    const { note, keys } = Cosigned.parse(value)
    const found = readTreeNote(note)
    return found && { ...found, keys }
  } catch {
    return null
  }
}
