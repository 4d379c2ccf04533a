import { err, ok, type Result } from 'neverthrow'
import type * as z from 'zod'
import { EventMeta } from '../api/frames.ts'
import { ALL_KINDS, DOCUMENTED_KINDS, type Kind, type RecordOf, RunRecord } from '../api/records.ts'

type Seq = {
  /** The place of the record in its run: 0, 1, 2 … It is what a watch goes on behind. */
  readonly seq: number
}

type Kept = {
  /** The id of the record's event; only where the watch asks for `meta`. */
  readonly id?: string
  readonly meta?: EventMeta
  /**
   * The text that came is not the JSON that is written for what it holds: there was a name twice in it,
   * for example. Only where the watch asks for `meta`: who verifies a record takes none of these for one.
   */
  readonly altered?: true
}

/** A record as it comes over the wire; `kind` tells the shape of `payload`. `ts` is in seconds. */
export type AgentEvent<K extends Kind = Kind> = RecordOf<K> & Seq & Kept

/** The kinds to watch: all that this client knows, or some. Without a choice: the documented ten. */
export type Kinds = 'all' | readonly Kind[]

/** The kinds of events that a choice of kinds brings. */
export type ChosenKind<S extends Kinds | undefined> = S extends 'all'
  ? Kind
  : S extends readonly (infer K extends Kind)[]
    ? K
    : (typeof DOCUMENTED_KINDS)[number]

const KNOWN: ReadonlySet<unknown> = new Set(ALL_KINDS)

/**
 * What a frame holds: an event; the word that all that was stored has been sent, up to `seq`; or a
 * record of a newer server than this client.
 */
export type Read =
  | { readonly type: 'event'; readonly event: AgentEvent }
  | { readonly type: 'caught_up'; readonly seq: number }
  | { readonly type: 'unknown_kind'; readonly seq: number }

/**
 * Reads a frame, with the schemas that the server writes by. Fields that a newer server has added to
 * a payload are no fault and stay in it. The error says what is wrong.
 */
export function readFrame(frame: unknown): Result<Read, string> {
  if (!isObject(frame)) return err('it is no JSON object')
  const { seq, id, meta, ...rest } = frame
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq))
    return err('its seq is no whole number')
  if (rest.kind === 'caught_up') return ok({ type: 'caught_up', seq })
  if (typeof rest.kind === 'string' && !KNOWN.has(rest.kind))
    return ok({ type: 'unknown_kind', seq })
  const kept = readKept(id, meta)
  if (kept.isErr()) return err(kept.error)
  return readRecord(rest).map((record) => {
    return { type: 'event', event: { ...record, seq, ...kept.value } }
  })
}

function readKept(id: unknown, meta: unknown): Result<Kept, string> {
  if (id === undefined && meta === undefined) return ok({})
  const parsed = EventMeta.safeParse(meta)
  if (typeof id !== 'string') return err('its id is no text')
  if (!parsed.success) return err(`meta.${issuesOf(parsed.error)}`)
  return ok({ id, meta: parsed.data })
}

function readRecord(value: object): Result<RunRecord, string> {
  const parsed = RunRecord.safeParse(value)
  if (parsed.success) return ok(parsed.data)
  const { issues } = parsed.error
  const added = issues.every(({ code }) => code === 'unrecognized_keys')
  // All known fields have passed, so this is a record with more in it.
  if (added) return ok(value as RunRecord)
  return err(issuesOf(parsed.error))
}

const issuesOf = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')

/** Reads the text of a frame. */
export function readText(text: string): Result<Read, string> {
  const frame = parseFrame(text)
  const read = readFrame(frame)
  return isAltered(frame, text) ? read.map(asAltered) : read
}

/** Whether the text of a frame with `meta` is not the one that is written for it; others nobody verifies. */
export const isAltered = (frame: unknown, text: string): boolean =>
  isObject(frame) && frame.meta !== undefined && JSON.stringify(frame) !== text

/** What was read of a text that is not the one that is written for it. */
export const asAltered = (read: Read): Read =>
  read.type === 'event' ? { ...read, event: { ...read.event, altered: true } } : read

/** The value of a text; undefined where it is no JSON. */
export function parseFrame(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function wantedKinds(kinds: Kinds | undefined): ReadonlySet<Kind> {
  if (kinds === undefined) return new Set(DOCUMENTED_KINDS)
  return new Set(kinds === 'all' ? ALL_KINDS : kinds)
}

/** Whether all kinds that this client knows are wanted: then no seq may be missing between two events. */
export const areAll = (wanted: ReadonlySet<Kind>): boolean => wanted.size === ALL_KINDS.length

/** A choice as a query has it. All are asked for as `all`: there a newer server sends its new kinds too. */
export const kindsText = (wanted: ReadonlySet<Kind>): string =>
  areAll(wanted) ? 'all' : [...wanted].join(',')
