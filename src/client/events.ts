import { err, ok, type Result } from 'neverthrow'
import type * as z from 'zod'
import { EventMeta } from '../api/frames.ts'
import { ALL_KINDS, DOCUMENTED_KINDS, type Kind, type RecordOf, RunRecord } from '../api/records.ts'
import { jsonOr } from '../lib/json-or.ts'

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

/** What a frame holds: an event, the notice that all up to `seq` is sent, or a record of a kind for newer clients. */
export type Read =
  | { readonly type: 'event'; readonly event: AgentEvent }
  | { readonly type: 'caught_up'; readonly seq: number }
  | { readonly type: 'unknown_kind'; readonly seq: number }

/**
 * Reads a frame with the schemas of the server. Fields that a newer server has added to a payload are kept. The
 * error describes what is wrong.
 */
export function readFrame(frame: unknown): Result<Read, string> {
  if (!isObject(frame)) return err('it is not a JSON object')
  const { seq, id, meta, ...rest } = frame
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq))
    return err('its seq is not a whole number')
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

/** Reads the text of a frame. */
export const readText = (text: string): Result<Read, string> =>
  readValue(jsonOr(text, undefined), text)

/** The same, for a text that was parsed already. */
export function readValue(frame: unknown, text: string): Result<Read, string> {
  const read = readFrame(frame)
  return isAltered(frame, text) ? read.map(asAltered) : read
}

/** Whether a frame with `meta` has another text than the server writes. Frames without it are not verified. */
export const isAltered = (frame: unknown, text: string): boolean =>
  isObject(frame) && frame.meta !== undefined && JSON.stringify(frame) !== text

/** Marks what was read of an altered text. */
export const asAltered = (read: Read): Read =>
  read.type === 'event' ? { ...read, event: { ...read.event, altered: true } } : read

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
