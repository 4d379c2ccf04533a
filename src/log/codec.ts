import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { maskPayload } from '../domain/mask/mask-payload.ts'
import { RunRecord } from '../domain/records.ts'
import type { NewEvent, RecordedEvent } from '../store/event-store.ts'
import { type RecordMeta, recordHash, type SaltedMeta, uuidOfHash } from './chain.ts'
import { processMask } from './masking.ts'

/** Version of the records that this server writes. */
export const SCHEMA = 1

/** A record as it stands in its stream. */
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
const Hash = z.string().regex(/^[0-9a-f]{64}$/)
const common = {
  schema: z.int(),
  command_id: z.string(),
  principal: z.string().exactOptional(),
  prev_hash: Hash,
  hash: Hash,
}
const ByPointer = z.record(z.string().startsWith('/'), Hash)
const WholeMeta = z.strictObject({ ...common, salt: Salt })
const RedactedMeta = z.strictObject({ ...common, salts: ByPointer, redacted: ByPointer })

/** Of the two forms, the one that is meant is known by its names, so that a problem is told well. */
function readMeta(metadata: unknown): RecordMeta {
  const isRedacted = typeof metadata === 'object' && metadata !== null && 'redacted' in metadata
  return isRedacted ? RedactedMeta.parse(metadata) : WholeMeta.parse(metadata)
}

/** The metadata of nearly all records as it is stored: text that matches says all that `WholeMeta` asks for. */
const PLAIN_META =
  /^\{"schema":1,"command_id":"([\w-]+)",(?:"principal":"([\w .@-]+)",)?"salt":"([0-9a-f]{32})","prev_hash":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}$/

/** The metadata that plain text holds, several times faster than `readMeta`; null for any other text. */
function readPlainMeta(text: string): RecordMeta | null {
  const [, command_id, principal, salt, prev_hash, hash] = PLAIN_META.exec(text) ?? []
  if (command_id === undefined || salt === undefined) return null
  if (prev_hash === undefined || hash === undefined) return null
  const author = principal === undefined ? { command_id } : { command_id, principal }
  return { schema: 1, ...author, salt, prev_hash, hash }
}

/** Why text that is no JSON, or JSON that is written in another way than ours, is no record. */
const OTHER_TEXT =
  'its text is not the JSON that is written for what it holds: a name twice, white space, or another spelling'

/**
 * What a stored text holds. Text that was altered, or is no JSON, stays text: no reader takes it for a record,
 * also not after it was exported.
 */
export function storedJson({ altered }: Pick<RecordedEvent, 'altered'>, text: string): unknown {
  if (altered === true) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** JSON text may carry lone surrogates as escapes; canonical UTF-8 cannot, so they are replaced. */
function wellFormed<T>(value: T): T {
  const text = JSON.stringify(value)
  if (!/\\ud[89a-f]/i.test(text)) return value
  return JSON.parse(text, (_key, item: unknown) => {
    if (typeof item === 'string') return item.toWellFormed()
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    const entries = Object.entries(item)
    return Object.fromEntries(entries.map(([name, value]) => [name.toWellFormed(), value]))
  })
}

/** Masks a record; the same object comes back where there was nothing to mask. */
function masked<R extends { readonly payload: object }>(record: R): R {
  const payload = maskPayload(record.payload, processMask.text)
  return payload === record.payload ? record : { ...record, payload }
}

/**
 * Makes the event of a record. All records come through here, so this is where secrets are masked:
 * before anything is hashed. What is in the log is `logged`, not `record`.
 */
export function encode<R extends { readonly kind: string; readonly payload: object }>(
  seq: number,
  record: R,
  meta: Omit<SaltedMeta, 'hash' | 'schema'>,
): { readonly event: NewEvent; readonly logged: Logged<R> } {
  const written = masked(wellFormed(record))
  const unsigned = { schema: SCHEMA, ...meta }
  const complete = { ...unsigned, hash: recordHash(seq, written, unsigned) }
  const event = {
    id: uuidOfHash(complete.hash),
    type: written.kind,
    data: JSON.stringify(written),
    metadata: JSON.stringify(complete),
  }
  return { event, logged: { seq, record: written, meta: complete } }
}

/** Brings the stored data of an older schema version to the present one. There is one place for it. */
function upcast(data: unknown, _schema: number): unknown {
  return data
}

/** Where a stored record stands. */
type Place = Pick<RecordedEvent, 'stream' | 'revision'>

function read<R>(
  { revision }: Place,
  shape: z.ZodType<R>,
  data: unknown,
  metadata: unknown,
  known: RecordMeta | null = null,
): Logged<R> {
  if (typeof data === 'string' || typeof metadata === 'string') throw new Error(OTHER_TEXT)
  const meta = known ?? readMeta(metadata)
  if (meta.schema > SCHEMA) {
    throw new Error(`it has schema ${meta.schema}, this server reads up to ${SCHEMA}: update it`)
  }
  return { seq: revision, record: shape.parse(upcast(data, meta.schema)), meta }
}

/** What an event holds that is no record. @throws where it is not what was appended */
export function storedValue(event: RecordedEvent): unknown {
  const value = storedJson(event, event.data)
  if (typeof value === 'string') throw new Error(OTHER_TEXT)
  return value
}

/** Reads a stored event. It may come from any writer, so it is validated in full. */
export function decode(event: RecordedEvent): Result<LoggedRecord, DamagedRecord> {
  return decodeAs(RunRecord, event)
}

/** Reads a stored event of another stream than a run's. */
export function decodeAs<R>(
  shape: z.ZodType<R>,
  event: RecordedEvent,
): Result<Logged<R>, DamagedRecord> {
  return attempt(event, () => {
    const data = storedJson(event, event.data)
    const plain = event.altered === true ? null : readPlainMeta(event.metadata)
    return read(event, shape, data, plain ?? storedJson(event, event.metadata), plain)
  })
}

/** Reads a record whose data and metadata are parsed JSON, such as a line of an export. */
export function decodeParsed(
  place: Place,
  data: unknown,
  metadata: unknown,
): Result<LoggedRecord, DamagedRecord> {
  return decodeParsedAs(RunRecord, place, data, metadata)
}

/** The same for what is in another stream than a run's. */
export function decodeParsedAs<R>(
  shape: z.ZodType<R>,
  place: Place,
  data: unknown,
  metadata: unknown,
): Result<Logged<R>, DamagedRecord> {
  return attempt(place, () => read(place, shape, data, metadata))
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
