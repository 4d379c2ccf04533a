import { ALL_KINDS, type Kind, type RunRecord } from '../../domain/records.ts'
import { decode, SCHEMA } from '../../store/codec.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type Framed, framedSize, Slab } from './wire.ts'

/** A record as observers get it: `data` is its JSON, encoded once and shared by all of them. */
export type Frame = Framed & {
  readonly type: 'frame'
  readonly seq: number
  readonly kind: Kind
}
/** A stored event that is no record. Observers are told, and get no further. */
export type Damage = {
  readonly type: 'damage'
  readonly seq: number
  readonly message: string
}
export type Entry = Frame | Damage

export const isEnd = (entry: Entry): boolean => entry.type === 'frame' && entry.kind === 'run_end'

export const sizeOf = (entry: Entry): number => (entry.type === 'frame' ? entry.data.length : 0)

/** What is to be framed: the JSON of a record, and what comes in place of its last brace. */
type Text = {
  readonly type: 'text'
  readonly seq: number
  readonly kind: Kind
  readonly json: string
  readonly suffix: string
  readonly bytes: number
}

const textOf = (kind: Kind, seq: number, json: string): Text => {
  const suffix = seqSuffix(seq)
  const bytes = Buffer.byteLength(json) - 1 + suffix.length
  return { type: 'text', seq, kind, json, suffix, bytes }
}

/** Puts the seq behind the last key of a JSON object. */
const seqSuffix = (seq: number): string => `,"seq":${seq}}`

/**
 * Makes the frames of stored events, one behind the other in memory. A record that this server wrote
 * with the present schema is sent in the text that the store keeps, with its seq put in; any other is
 * written anew. All are validated before, unless the projector has read them already (up to the seq
 * `projected`): what it has folded is known to be a record, and who comes late to a long run should not
 * wait until that is found out once more.
 */
export function entriesOf(events: readonly RecordedEvent[], projected: number): Entry[] {
  const read = events.map((event) => readEvent(event, event.revision <= projected))
  const size = (text: Text | Damage) => (text.type === 'text' ? framedSize(text.bytes) : 0)
  const slab = new Slab(read.reduce((sum, text) => sum + size(text), 0))
  return read.map((text) => (text.type === 'text' ? frameOf(text, slab) : text))
}

/** Makes the frame of one stored event. */
export function entryOf(event: RecordedEvent, projected: boolean): Entry {
  const text = readEvent(event, projected)
  return text.type === 'text' ? frameOf(text, new Slab(framedSize(text.bytes))) : text
}

function frameOf({ seq, kind, json, suffix, bytes }: Text, slab: Slab): Frame {
  const framed = slab.frame(bytes, (memory, at) => {
    memory.write(json, at)
    memory.write(suffix, at + bytes - suffix.length)
  })
  return { type: 'frame', seq, kind, ...framed }
}

function readEvent(event: RecordedEvent, projected: boolean): Text | Damage {
  const seq = event.revision
  const kind = ownKindOf(event)
  if (projected && kind !== undefined) return textOf(kind, seq, event.data)
  const decoded = decode(event)
  if (decoded.isErr()) return { type: 'damage', seq, message: decoded.error.message }
  const { record } = decoded.value
  return textOf(record.kind, seq, kind === record.kind ? event.data : JSON.stringify(record))
}

const PRESENT_SCHEMA = `{"schema":${SCHEMA},`
/** How the text of each kind begins where this server wrote it. */
const BEGINNINGS = new Map<string, { readonly kind: Kind; readonly text: string }>(
  ALL_KINDS.map((kind) => [kind, { kind, text: `{"kind":"${kind}",` }]),
)

/** The kind of an event that was written as this server writes it; undefined for another. */
function ownKindOf({ type, data, metadata }: RecordedEvent): Kind | undefined {
  const beginning = BEGINNINGS.get(type)
  if (beginning === undefined || !data.startsWith(beginning.text)) return undefined
  // A frame is one line, wherever it is sent.
  if (data.includes('\n') || data.includes('\r')) return undefined
  return data.endsWith('}') && metadata.startsWith(PRESENT_SCHEMA) ? beginning.kind : undefined
}

const TS = /^\{"kind":"\w+","run_id":"[^"]*","iteration":\d+,"ts":([^,]+),/
/** More than all that stands in front of the payload. */
const HEAD_BYTES = 200

/** When the record of a frame happened, seconds since the epoch. */
export function tsOf(data: Buffer): number {
  const [, ts] = TS.exec(data.toString('latin1', 0, HEAD_BYTES)) ?? []
  return Number(ts ?? JSON.parse(data.toString()).ts)
}

/**
 * A frame that no record stands behind: why the server ends this observation. Its seq is the cursor
 * of the observer, so that resuming behind the last seq seen stays right.
 */
export function refusalFrame(runId: string, seq: number, ts: number, message: string): Buffer {
  const record: RunRecord = {
    kind: 'error',
    run_id: runId,
    iteration: 0,
    ts,
    payload: { message, traceback: '' },
  }
  return Buffer.from(`${JSON.stringify(record).slice(0, -1)}${seqSuffix(seq)}`)
}

/**
 * The frame that stands once between history and live, for those who ask for it. It is no record, and
 * has neither iteration nor ts nor payload.
 */
export function caughtUpFrame(runId: string, seq: number): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'caught_up', run_id: runId, seq }))
}
