import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { Sha256 } from '../domain/fields.ts'
import { maskPayload } from '../domain/mask/mask-payload.ts'
import { RunRecord } from '../domain/records.ts'
import { isExactJson } from '../lib/exact-json.ts'
import { jsonOr } from '../lib/json-or.ts'
import { LruCache } from '../lib/lru-cache.ts'
import { plainMetadata } from '../lib/plain-metadata.ts'
import { quickParse } from '../lib/quick-parse.ts'
import { wellFormed } from '../lib/well-formed.ts'
import type { NewEvent, RecordedEvent } from '../store/event-store.ts'
import { type RecordMeta, recordHash, type SaltedMeta, uuidOfHash } from './chain.ts'
import { EntrySeal, mayBeSealed } from './entry-seal.ts'
import { processMask } from './masking.ts'

/** Version of the records that this server writes. */
export const SCHEMA = 1

/** A record at its place in its stream. */
export type Logged<R> = {
  readonly seq: number
  readonly record: R
  readonly meta: RecordMeta
}
export type LoggedRecord = Logged<RunRecord>

/** A stored event that this server cannot read. */
export type DamagedRecord = {
  readonly type: 'damaged_record'
  readonly stream: string
  readonly seq: number
  readonly message: string
}

const Salt = z.string().regex(/^[0-9a-f]{32}$/)
const common = {
  schema: z.int(),
  command_id: z.string(),
  principal: z.string().exactOptional(),
  prev_hash: Sha256,
  hash: Sha256,
}
const ByPointer = z.record(z.string().startsWith('/'), Sha256)
const WholeMeta = z.strictObject({ ...common, salt: Salt })
const RedactedMeta = z.strictObject({ ...common, salts: ByPointer, redacted: ByPointer })
const EntryMeta = z.strictObject({ ...common, salt: Salt, seal: EntrySeal.exactOptional() })

/** The names say which of the two forms is meant, so that an error is about that form. */
function readMeta(metadata: unknown, stream: string): RecordMeta {
  if (mayBeSealed(stream)) return EntryMeta.parse(metadata)
  const isRedacted = typeof metadata === 'object' && metadata !== null && 'redacted' in metadata
  return isRedacted ? RedactedMeta.parse(metadata) : WholeMeta.parse(metadata)
}

/** Why text that is not JSON, or JSON that is written in another way than ours, is not a record. */
const OTHER_TEXT =
  'its text is not the JSON that would be written for its contents: a name twice, white space, or another spelling'

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

/** Brings stored data of an older schema version to the present one. This is the only place for that. */
function upcast(data: unknown, _schema: number): unknown {
  return data
}

/** Where a record is stored. */
type Place = Pick<RecordedEvent, 'stream' | 'revision'>

function read<R>(
  { revision, stream }: Place,
  shape: z.ZodType<R>,
  data: unknown,
  metadata: unknown,
  known: RecordMeta | null = null,
): Logged<R> {
  if (typeof data === 'string' || typeof metadata === 'string') throw new Error(OTHER_TEXT)
  const meta = known ?? readMeta(metadata, stream)
  if (meta.schema > SCHEMA) {
    throw new Error(`it has schema ${meta.schema}, this server reads up to ${SCHEMA}: update it`)
  }
  return { seq: revision, record: quickParse(shape, upcast(data, meta.schema)), meta }
}

/** The contents of an event that is not a record. @throws if its text is not what was appended */
export function storedValue(event: RecordedEvent): unknown {
  const value = storedJson(event, event.data)
  if (typeof value === 'string') throw new Error(OTHER_TEXT)
  return value
}

/**
 * Reads a stored event. It may come from any writer, so it is validated in full. Each subscription of a process
 * delivers a new event, to the projector and to the observers: the first of them decodes it for all.
 */
export function decode(event: RecordedEvent): Result<LoggedRecord, DamagedRecord> {
  const known = recent.get(event.id)
  if (known !== undefined && isSameText(known.event, event)) return ok(known.logged)
  const decoded = decodeAs(RunRecord, event)
  if (decoded.isOk() && event.data.length <= MAX_RECENT_CHARS) {
    recent.set(event.id, { event, logged: decoded.value })
  }
  return decoded
}

/** The records that were decoded last, by the ids of their events. Longer ones are not kept. */
const recent = new LruCache<{ readonly event: RecordedEvent; readonly logged: LoggedRecord }>(256)
const MAX_RECENT_CHARS = 16_000

/** An id alone proves nothing: a redacted record keeps its id, and a writer may use an id twice. */
function isSameText(one: RecordedEvent, other: RecordedEvent): boolean {
  if (one === other) return true
  return (
    one.revision === other.revision &&
    one.stream === other.stream &&
    one.altered === other.altered &&
    one.data === other.data &&
    one.metadata === other.metadata
  )
}

/** Drops the records that were decoded last, because a part of them was redacted. */
export function forgetDecoded(): void {
  recent.clear()
}

/** Reads a stored event of another stream than a run's. */
export function decodeAs<R>(
  shape: z.ZodType<R>,
  event: RecordedEvent,
): Result<Logged<R>, DamagedRecord> {
  return attempt(event, () => {
    const data = storedJson(event, event.data)
    const plain = event.altered === true ? null : plainMetadata(event.metadata)
    return read(event, shape, data, plain ?? storedJson(event, event.metadata), plain)
  })
}

/** Reads a stored event whose text may have been altered: compares the text, which is parsed in any case. */
export function decodeCompared<R>(
  shape: z.ZodType<R>,
  event: RecordedEvent,
): Result<Logged<R>, DamagedRecord> {
  return attempt(event, () => {
    const plain = plainMetadata(event.metadata)
    return read(event, shape, exactJson(event.data), plain ?? exactJson(event.metadata), plain)
  })
}

/** The value of a text that `JSON.stringify` writes like this; any other text stays text. */
function exactJson(text: string): unknown {
  const value = storedJson({}, text)
  return isExactJson(text, value) ? value : text
}

/** Reads a record whose data and metadata are parsed JSON already, such as a line of an export. */
export function decodeParsed(
  place: Place,
  data: unknown,
  metadata: unknown,
  known?: RecordMeta,
): Result<LoggedRecord, DamagedRecord> {
  return decodeParsedAs(RunRecord, place, data, metadata, known)
}

/** The same for another stream than a run's. */
export function decodeParsedAs<R>(
  shape: z.ZodType<R>,
  place: Place,
  data: unknown,
  metadata: unknown,
  known?: RecordMeta,
): Result<Logged<R>, DamagedRecord> {
  return attempt(place, () => read(place, shape, data, metadata, known))
}

function attempt<R>(
  { stream, revision }: Place,
  read: () => Logged<R>,
): Result<Logged<R>, DamagedRecord> {
  try {
    return ok(read())
  } catch (cause) {
    const message = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message
    return err({ type: 'damaged_record', stream, seq: revision, message })
  }
}
