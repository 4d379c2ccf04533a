import { err, ok, type Result } from 'neverthrow'
import {
  ALL_KINDS,
  type DOCUMENTED_KINDS,
  type Kind,
  type RecordOf,
  RunRecord,
} from '../domain/records.ts'

type Seq = {
  /** The place of the record in its run: 0, 1, 2 … It is what a watch goes on behind. */
  readonly seq: number
}

/** A record as it comes over the wire; `kind` tells the shape of `payload`. `ts` is in seconds. */
export type AgentEvent<K extends Kind = Kind> = RecordOf<K> & Seq

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
type Read =
  | { readonly type: 'event'; readonly event: AgentEvent }
  | { readonly type: 'caught_up'; readonly seq: number }
  | { readonly type: 'unknown_kind'; readonly seq: number }

/**
 * Reads a frame, with the schemas that the server writes by. Fields that a newer server has added to
 * a payload are no fault and stay in it. The error says what is wrong.
 */
export function readFrame(text: string): Result<Read, string> {
  const frame = parseObject(text)
  if (frame === null) return err('it is no JSON object')
  const { seq, ...rest } = frame
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq))
    return err('its seq is no whole number')
  if (rest.kind === 'caught_up') return ok({ type: 'caught_up', seq })
  if (typeof rest.kind === 'string' && !KNOWN.has(rest.kind))
    return ok({ type: 'unknown_kind', seq })
  return readRecord(rest).map((record) => ({ type: 'event', event: { ...record, seq } }))
}

function readRecord(value: object): Result<RunRecord, string> {
  const parsed = RunRecord.safeParse(value)
  if (parsed.success) return ok(parsed.data)
  const { issues } = parsed.error
  const added = issues.every(({ code }) => code === 'unrecognized_keys')
  // All known fields have passed, so this is a record with more in it.
  if (added) return ok(value as RunRecord)
  return err(issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '))
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
