import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { RunRecord } from '../domain/records.ts'
import { REDACTED } from '../domain/texts.ts'
import { jsonOr, wellFormed } from '../lib/json.ts'
import { messageOf } from '../lib/message-of.ts'
import { maskPayload } from '../masking/mask.ts'
import { processMask } from '../masking/process-mask.ts'
import type { NewEvent, RecordedEvent } from '../store/event-store.ts'
import {
  type EntrySeal,
  type Logged,
  OTHER_TEXT,
  readMeta,
  recordHash,
  type SaltedMeta,
  SCHEMA,
  uuidOfHash,
} from './chain.ts'
import {
  type ByPointer,
  commitmentTo,
  leafSalt,
  mapStrings,
  NotAsRedacted,
  type RedactedSalts,
} from './commitment.ts'

export { type Logged, SCHEMA } from './chain.ts'
export type LoggedRecord = Logged<RunRecord>

/** A stored event that this server cannot read. */
export type DamagedRecord = {
  readonly type: 'damaged_record'
  readonly stream: string
  readonly seq: number
  readonly message: string
}

/**
 * The JSON value of a stored text. Text that was altered, or is not JSON, stays text, so that no reader takes it for a
 * record, not even after an export.
 */
export function storedJson({ altered }: Pick<RecordedEvent, 'altered'>, text: string): unknown {
  return altered === true ? text : jsonOr(text, text)
}

/** Masks a record. If there is nothing to mask, returns the same object. */
function masked<R extends { readonly payload: object }>(record: R): R {
  const payload = maskPayload(record.payload, processMask.text)
  return payload === record.payload ? record : { ...record, payload }
}

/**
 * Makes the event of a record. All records pass through here, so secrets are masked here, before anything is hashed.
 * The log holds `logged`, not `record`.
 */
export function encode<R extends { readonly kind: string; readonly payload: object }>(
  seq: number,
  record: R,
  meta: Omit<SaltedMeta, 'hash' | 'schema' | 'seal'>,
  seal?: (hash: string) => EntrySeal,
): { readonly event: NewEvent; readonly logged: Logged<R> } {
  const text = JSON.stringify(record)
  const written = masked(wellFormed(record, text))
  const unsigned = { schema: SCHEMA, ...meta }
  const hash = recordHash(seq, written, unsigned)
  const complete = { ...unsigned, hash, ...(seal && { seal: seal(hash) }) }
  const event = {
    id: uuidOfHash(hash),
    type: written.kind,
    data: written === record ? text : JSON.stringify(written),
    metadata: JSON.stringify(complete),
  }
  return { event, logged: { seq, record: written, meta: complete } }
}

/** The contents of an event that is not a record. @throws if its text is not what was appended */
export function storedValue(event: RecordedEvent): unknown {
  const value = storedJson(event, event.data)
  if (typeof value === 'string') throw new Error(OTHER_TEXT)
  return value
}

/** Reads a stored event of a run. It may come from any writer, so it is validated in full. */
export const decode = (event: RecordedEvent): Result<LoggedRecord, DamagedRecord> =>
  decodeAs(RunRecord, event)

/** Reads a stored event of another stream than a run's. */
export const decodeAs = <R>(
  shape: z.ZodType<R>,
  event: RecordedEvent,
): Result<Logged<R>, DamagedRecord> =>
  decodeParsed(shape, event, storedJson(event, event.data), storedJson(event, event.metadata))

/** Reads a record whose data and metadata are parsed JSON already, such as a line of an export. */
export function decodeParsed<R>(
  shape: z.ZodType<R>,
  { stream, revision }: Pick<RecordedEvent, 'stream' | 'revision'>,
  data: unknown,
  metadata: unknown,
): Result<Logged<R>, DamagedRecord> {
  try {
    if (typeof data === 'string' || typeof metadata === 'string') throw new Error(OTHER_TEXT)
    const meta = readMeta(metadata, stream)
    return ok({ seq: revision, record: shape.parse(data), meta })
  } catch (cause) {
    const message = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)
    return err({ type: 'damaged_record', stream, seq: revision, message })
  }
}

/** The texts of a stored event. */
type StoredTexts = { readonly data: string; readonly metadata: string }

type Stored = { readonly payload?: object; readonly [name: string]: unknown }
type StoredMeta = { readonly salt?: string } & Partial<RedactedSalts>

/**
 * Redacts the strings at these pointers. Returns the event without them, and the commitments to all its redacted
 * strings. The id and the hash of the event stay. A pointer to no string, or to a redacted one, changes nothing. If
 * nothing changes, the same object is returned.
 */
export function redactStrings<E extends StoredTexts>(
  event: E,
  pointers: ReadonlySet<string>,
): { readonly event: E; readonly redacted: ByPointer } {
  const { payload, ...data }: Stored = JSON.parse(event.data)
  const meta: StoredMeta = JSON.parse(event.metadata)
  const { salt } = meta
  const redacted: Record<string, string> = { ...meta.redacted }
  if (payload === undefined || (salt === undefined && meta.salts === undefined)) {
    return { event, redacted }
  }
  const before = Object.keys(redacted).length
  const salts: Record<string, string> = {}
  const remaining = mapStrings(payload, (text, pointer) => {
    if (redacted[pointer] !== undefined) return text
    const own = salt === undefined ? meta.salts?.[pointer] : leafSalt(salt, pointer)
    if (own === undefined) throw new NotAsRedacted(`${pointer} has no salt`)
    if (pointers.has(pointer)) {
      redacted[pointer] = commitmentTo(text, own)
      return REDACTED
    }
    salts[pointer] = own
    return text
  })
  if (Object.keys(redacted).length === before) return { event, redacted }
  const stored = {
    ...event,
    data: JSON.stringify({ ...data, payload: remaining }),
    metadata: JSON.stringify(withRedactedSalts(meta, { salts, redacted })),
  }
  return { event: stored, redacted }
}

/** Keeps the order of the names: readers recognize our metadata by the first one. */
function withRedactedSalts(meta: object, salts: RedactedSalts): object {
  return Object.fromEntries(
    Object.entries(meta).flatMap(([name, value]) => {
      if (name === 'salt' || name === 'salts') return Object.entries(salts)
      return name === 'redacted' ? [] : [[name, value]]
    }),
  )
}
