import type { Form } from '../../api/event-query.ts'
import { ALL_KINDS, type Kind } from '../../domain/records.ts'
import { decode, SCHEMA } from '../../log/codec.ts'
import type { RecordedEvent } from '../../store/event-store.ts'

/** A record that can be served: its JSON, and what comes in place of the last brace. */
export type Text = {
  readonly type: 'text'
  readonly seq: number
  readonly kind: Kind
  readonly json: string
  readonly suffix: string
}
/** A stored event that is no record. Observers are told, and get no further. */
export type Damage = {
  readonly type: 'damage'
  readonly seq: number
  readonly message: string
}

/** Puts the seq behind the last key of a JSON object. */
export const seqSuffix = (seq: number): string => `,"seq":${seq}}`

/** What observers get of a record, on one line. */
export const wholeText = ({ json, suffix }: Text): string => json.slice(0, -1) + suffix

/**
 * Puts the id and the metadata of an event behind the last key of a JSON object, on one line; null where
 * the metadata is no JSON. It is passed on as it is stored: who verifies it must not depend on what this
 * server understands.
 */
export function metaSuffix({
  id,
  metadata,
}: Pick<RecordedEvent, 'id' | 'metadata'>): string | null {
  try {
    return `,"id":${JSON.stringify(id)},"meta":${JSON.stringify(JSON.parse(metadata))}}`
  } catch {
    return null
  }
}

/**
 * Reads a stored event. A record that this server wrote with the present schema is served in the text
 * that the store keeps; any other is written anew. All are validated before, unless the projector has
 * read the event already (`projected`): what it has folded is known to be a record, and who comes late
 * to a long run should not wait until that is found out once more.
 */
export function textOf(
  event: RecordedEvent,
  projected: boolean,
  form: Form = 'record',
): Text | Damage {
  const text = recordText(event, projected)
  if (form === 'record' || text.type === 'damage') return text
  const suffix = metaSuffix(event)
  if (suffix === null) {
    return { type: 'damage', seq: text.seq, message: 'its metadata is no JSON' }
  }
  return { ...text, suffix: text.suffix.slice(0, -1) + suffix }
}

function recordText(event: RecordedEvent, projected: boolean): Text | Damage {
  const seq = event.revision
  const suffix = seqSuffix(seq)
  const kind = ownKindOf(event)
  if (projected && kind !== undefined) return { type: 'text', seq, kind, json: event.data, suffix }
  const decoded = decode(event)
  if (decoded.isErr()) return { type: 'damage', seq, message: decoded.error.message }
  const { record } = decoded.value
  const json = kind === record.kind ? event.data : JSON.stringify(record)
  return { type: 'text', seq, kind: record.kind, json, suffix }
}

const PRESENT_SCHEMA = `{"schema":${SCHEMA},`
/** How the text of each kind begins where this server wrote it. */
const BEGINNINGS = new Map<string, { readonly kind: Kind; readonly text: string }>(
  ALL_KINDS.map((kind) => [kind, { kind, text: `{"kind":"${kind}",` }]),
)

/** The kind of an event that was written as this server writes it; undefined for another. */
function ownKindOf({ type, data, metadata, altered }: RecordedEvent): Kind | undefined {
  if (altered === true) return undefined
  const beginning = BEGINNINGS.get(type)
  if (beginning === undefined || !data.startsWith(beginning.text)) return undefined
  // A frame is one line, wherever it is sent.
  if (data.includes('\n') || data.includes('\r')) return undefined
  return data.endsWith('}') && metadata.startsWith(PRESENT_SCHEMA) ? beginning.kind : undefined
}

const TS = /^\{"kind":"\w+","run_id":"[^"]*","iteration":\d+,"ts":([^,]+),/
/** More than all that stands in front of the payload. */
const HEAD_BYTES = 200

/** When a record happened, seconds since the epoch. @param json the record, as text or in UTF-8 */
export function tsOf(json: string | Buffer): number {
  const head = typeof json === 'string' ? json : json.toString('latin1', 0, HEAD_BYTES)
  const [, ts] = TS.exec(head) ?? []
  return Number(ts ?? JSON.parse(json.toString()).ts)
}
