import type { Form, Selection } from '../../api/event-query.ts'
import { ALL_KINDS, type Kind } from '../../domain/records.ts'
import { decode, SCHEMA } from '../../log/codec.ts'
import type { RecordedEvent } from '../../store/event-store.ts'

/** A record that can be served: its JSON, and the suffix that replaces the last brace. */
export type RecordJson = {
  readonly type: 'record'
  readonly seq: number
  readonly kind: Kind
  readonly json: string
  readonly suffix: string
}
/** A stored event that is not a record. Observers get an error in its place. */
export type Damage = {
  readonly type: 'damage'
  readonly seq: number
  readonly message: string
}

/** A sentence for a person about a record that cannot be read. */
export const damageMessage = ({ seq, message }: Omit<Damage, 'type'>): string =>
  `Record ${seq} of this run cannot be read: ${message}. See the server's log.`

/** A frame for one observer, on one line. */
export const frameText = ({ json, suffix }: RecordJson): string => json.slice(0, -1) + suffix

/** Adds the seq, and for all runs the cursor, after the last key of a JSON object. */
export const placeSuffix = (seq: number, cursor?: string): string =>
  cursor === undefined ? `,"seq":${seq}}` : `,"seq":${seq},"cursor":"${cursor}"}`

/**
 * Reads a stored event. A record of the present schema that this server wrote is served as stored; any other is
 * serialized again. Each event is validated first, unless the projector has folded it already (`projected`): then it is
 * a record, and a client that joins a long run late does not wait for a second validation.
 * @param cursor of the record, for frames of all runs
 */
export function recordJsonOf(
  event: RecordedEvent,
  projected: boolean,
  form: Form = 'record',
  cursor?: string,
): RecordJson | Damage {
  const seq = event.revision
  const record = kindAndJson(event, projected)
  if ('message' in record) return { type: 'damage', seq, message: record.message }
  const suffix = placeSuffix(seq, cursor)
  if (form === 'record') return { type: 'record', seq, ...record, suffix }
  const meta = metaSuffix(event)
  if (meta === null) return { type: 'damage', seq, message: 'its metadata is not JSON' }
  return { type: 'record', seq, ...record, suffix: suffix.slice(0, -1) + meta }
}

/**
 * The id and the metadata of an event as the end of a JSON object, on one line; null if the metadata is not JSON. It is
 * sent as it is stored: verification must not depend on what this server understands.
 */
function metaSuffix({ id, metadata }: RecordedEvent): string | null {
  try {
    return `,"id":${JSON.stringify(id)},"meta":${JSON.stringify(JSON.parse(metadata))}}`
  } catch {
    return null
  }
}

function kindAndJson(
  event: RecordedEvent,
  projected: boolean,
): Pick<RecordJson, 'kind' | 'json'> | { readonly message: string } {
  const kind = ownKindOf(event)
  if (projected && kind !== undefined) return { kind, json: event.data }
  const decoded = decode(event)
  if (decoded.isErr()) return { message: decoded.error.message }
  const { record } = decoded.value
  return {
    kind: record.kind,
    json: kind === record.kind ? event.data : JSON.stringify(record),
  }
}

const PRESENT_SCHEMA = `{"schema":${SCHEMA},`
/** How the JSON of each kind begins if this server wrote it. */
const BEGINNINGS = new Map<string, { readonly kind: Kind; readonly text: string }>(
  ALL_KINDS.map((kind) => [kind, { kind, text: `{"kind":"${kind}",` }]),
)

/** The kind of an event that is written as this server writes it; undefined for any other. */
function ownKindOf({ type, data, metadata, altered }: RecordedEvent): Kind | undefined {
  if (altered === true) return undefined
  const beginning = BEGINNINGS.get(type)
  if (beginning === undefined || !data.startsWith(beginning.text)) return undefined
  // A frame is one line on every transport.
  if (data.includes('\n') || data.includes('\r')) return undefined
  return data.endsWith('}') && metadata.startsWith(PRESENT_SCHEMA) ? beginning.kind : undefined
}

const TS = /^\{"kind":"\w+","run_id":"[^"]*","iteration":\d+,"ts":([^,]+),/
/** More than everything before the payload. */
const HEAD_BYTES = 200

/** When a record happened, seconds since the epoch. @param json the record, as text or in UTF-8 */
function tsOf(json: string | Buffer): number {
  const head = typeof json === 'string' ? json : json.toString('latin1', 0, HEAD_BYTES)
  const [, ts] = TS.exec(head) ?? []
  return Number(ts ?? JSON.parse(json.toString()).ts)
}

/** Whether a record is selected. @param json the record, as text or in UTF-8 */
export function selects(
  { kinds, fromTs, toTs }: Selection,
  kind: Kind,
  json: string | Buffer,
): boolean {
  if (!kinds.has(kind)) return false
  if (fromTs === 0 && toTs === Number.POSITIVE_INFINITY) return true
  const ts = tsOf(json)
  return ts >= fromTs && ts < toTs
}
