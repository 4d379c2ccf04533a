import { err, ok, type Result } from 'neverthrow'
import type * as z from 'zod'
import { EventMeta, PartFrame, PartsEnd, Refusal, replacesParts } from '../api/frames.ts'
import { ALL_KINDS, DOCUMENTED_KINDS, type Kind, type RecordOf, RunRecord } from '../api/records.ts'
import { jsonOr } from '../lib/json.ts'

type Seq = {
  /** The number of the record in its run: 0, 1, 2 … A watch resumes after it. */
  readonly seq: number
}

type Kept = {
  /** The id of the record's event. Only with `meta: true`. */
  readonly id?: string
  readonly meta?: EventMeta
  /**
   * The text of the frame is not the JSON that the server writes for this record: a name was in it twice, for
   * example. Only with `meta: true`. Verification does not accept such a record.
   */
  readonly altered?: true
}

/** A record as it comes over the wire. `kind` determines the shape of `payload`; `ts` is in seconds. */
export type AgentEvent<K extends Kind = Kind> = RecordOf<K> & Seq & Kept

/** The kinds to watch: all that this client knows, or some. The default is the documented ten. */
export type Kinds = 'all' | readonly Kind[]

/** The kinds of events that come for a choice of kinds. */
export type ChosenKind<S extends Kinds | undefined> = S extends 'all'
  ? Kind
  : S extends readonly (infer K extends Kind)[]
    ? K
    : (typeof DOCUMENTED_KINDS)[number]

const KNOWN: ReadonlySet<unknown> = new Set(ALL_KINDS)

/** What a frame holds. `cursor` is the place of a record among those of all runs. */
export type Read =
  | {
      readonly type: 'event'
      readonly seq: number
      readonly cursor?: string
      readonly event: AgentEvent
    }
  /** A record of a kind for newer clients. */
  | { readonly type: 'unknown_kind'; readonly seq: number; readonly cursor?: string }
  /** All records up to this place were sent. */
  | { readonly type: 'caught_up'; readonly place: number | string | null }
  /** What the server says to a person before it closes a watch of all runs. */
  | { readonly type: 'refusal'; readonly message: string }
  /** What is being written; null if this client does not know its form. */
  | { readonly type: 'part'; readonly part: Part | PartsEnd | null }

/**
 * Reads the text of a frame with the schemas of the server. Fields that a newer server has added to a payload are kept.
 * The error describes what is wrong.
 */
export function readText(text: string): Result<Read, string> {
  const frame = jsonOr(text, undefined)
  if (!isObject(frame)) return err('it is not a JSON object')
  const { seq, id, meta, cursor, ...rest } = frame
  const { kind } = rest
  if (kind === 'part' || kind === 'parts_end') {
    const part = kind === 'part' ? PartFrame.safeParse(frame) : PartsEnd.safeParse(frame)
    return ok({ type: 'part', part: part.data ?? null })
  }
  if (kind === 'error' && rest.run_id === '') {
    const refusal = Refusal.safeParse(frame)
    if (refusal.success) return ok({ type: 'refusal', message: refusal.data.payload.message })
  }
  const placed = typeof cursor === 'string' ? { cursor } : {}
  if (kind === 'caught_up' && seq === undefined && cursor !== undefined) {
    return ok({ type: 'caught_up', place: placed.cursor ?? null })
  }
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq))
    return err('its seq is not a whole number')
  if (kind === 'caught_up') return ok({ type: 'caught_up', place: seq })
  if (typeof kind === 'string' && !KNOWN.has(kind))
    return ok({ type: 'unknown_kind', seq, ...placed })
  const kept = readKept(id, meta)
  if (kept.isErr()) return err(kept.error)
  // Frames without metadata are not verified.
  const altered =
    meta !== undefined && JSON.stringify(frame) !== text ? ({ altered: true } as const) : {}
  return readRecord(rest).map((record) => {
    return { type: 'event', seq, ...placed, event: { ...record, seq, ...kept.value, ...altered } }
  })
}

function readKept(id: unknown, meta: unknown): Result<Kept, string> {
  if (id === undefined && meta === undefined) return ok({})
  const parsed = EventMeta.safeParse(meta)
  if (typeof id !== 'string') return err('its id is not a string')
  if (!parsed.success) return err(`meta.${issuesOf(parsed.error)}`)
  return ok({ id, meta: parsed.data })
}

function readRecord(value: object): Result<RunRecord, string> {
  const parsed = RunRecord.safeParse(value)
  if (parsed.success) return ok(parsed.data)
  const { issues } = parsed.error
  const added = issues.every(({ code }) => code === 'unrecognized_keys')
  // All known fields are valid, so this is a record with additional fields.
  if (added) return ok(value as RunRecord)
  return err(issuesOf(parsed.error))
}

const issuesOf = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function wantedKinds(kinds: Kinds | undefined): ReadonlySet<Kind> {
  if (kinds === undefined) return new Set(DOCUMENTED_KINDS)
  return new Set(kinds === 'all' ? ALL_KINDS : kinds)
}

/** Whether all kinds are wanted that this client knows: then no seq may be missing between two events. */
export const areAll = (wanted: ReadonlySet<Kind>): boolean => wanted.size === ALL_KINDS.length

/** A choice as a query has it. With `all`, a newer server also sends its new kinds. */
export const kindsText = (wanted: ReadonlySet<Kind>): string =>
  areAll(wanted) ? 'all' : [...wanted].join(',')

/** A piece of a text under way. It is not a record: its record replaces it. */
export type Part = PartFrame
export type { PartsEnd }

/** What a watch yields beside events if it is to show what is being written. */
export type PartsOf<L extends boolean | undefined> = L extends true ? Part | PartsEnd : never

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
