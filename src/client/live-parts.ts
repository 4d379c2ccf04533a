import { PartFrame, PartsEnd, replacesParts } from '../api/live-parts.ts'
import type { Kind } from '../api/records.ts'

/** A piece of a text under way. It is not a record: its record replaces it. */
export type Part = PartFrame
export type { PartsEnd }

/** What a watch yields beside events if it is to show what is being written. */
export type PartsOf<L extends boolean | undefined> = L extends true ? Part | PartsEnd : never

/** The frame of a part or of its end; null if this client does not know its form; undefined for any other frame. */
export function readPart(frame: unknown): Part | PartsEnd | null | undefined {
  if (typeof frame !== 'object' || frame === null || !('kind' in frame)) return undefined
  if (frame.kind === 'part') return PartFrame.safeParse(frame).data ?? null
  return frame.kind === 'parts_end' ? (PartsEnd.safeParse(frame).data ?? null) : undefined
}

/** A text under way, joined from its pieces. */
export type PartText = Pick<Part, 'run_id' | 'iteration' | 'attempt' | 'of'> & {
  /** The same for all pieces of the text, and for no other text of its run. */
  readonly key: string
  /** Only of the arguments of a call: its place in the reply. */
  readonly call?: number
  readonly tool?: string
  /** Only of output: the call that it belongs to, or null for the check of the goal. */
  readonly call_id?: string | null
  /** How much of the text is lost before `text`, in UTF-16 code units. */
  readonly lost: number
  readonly text: string
}

/** The texts under way of all watched runs after what a watch has yielded next. */
export function partsAfter(
  parts: readonly PartText[],
  next: Part | PartsEnd | { readonly kind: Kind; readonly run_id: string; readonly seq: number },
): readonly PartText[] {
  if (next.kind === 'part') return withPiece(parts, next)
  const { run_id } = next
  const isOver =
    next.kind === 'parts_end'
      ? (part: PartText) => part.run_id === run_id && part.attempt === next.attempt
      : (part: PartText) =>
          part.run_id === run_id && part.attempt < next.seq && replacesParts(next.kind)
  return parts.some(isOver) ? parts.filter((part) => !isOver(part)) : parts
}

function withPiece(parts: readonly PartText[], piece: Part): readonly PartText[] {
  const { kind: _, partial: __, offset, text, ...name } = piece
  const call = piece.of === 'arguments' ? piece.call : piece.of === 'output' ? piece.call_id : ''
  const key = `${piece.run_id} ${piece.attempt} ${piece.of} ${call}`
  const at = parts.findIndex((part) => part.key === key)
  const known = parts[at]
  // After a lost connection, a part comes again from its beginning.
  const overlap = known === undefined ? -1 : offset - known.lost
  const joined =
    known !== undefined && overlap >= 0 && overlap <= known.text.length
      ? { ...known, text: known.text.slice(0, overlap) + text }
      : { ...name, key, lost: offset, text }
  return at === -1 ? [...parts, joined] : parts.with(at, joined)
}
