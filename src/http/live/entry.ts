import { ALL_KINDS, type Kind, type RunRecord } from '../../domain/records.ts'
import { decode, SCHEMA } from '../../store/codec.ts'
import type { RecordedEvent } from '../../store/event-store.ts'

/** A record as observers get it: its JSON, encoded once and shared by all of them. */
export type Frame = {
  readonly type: 'frame'
  readonly seq: number
  readonly kind: Kind
  readonly data: Buffer
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

/** Puts the seq behind the last key of a JSON object. */
const withSeq = (json: string, seq: number): Buffer => {
  return Buffer.from(`${json.slice(0, -1)},"seq":${seq}}`)
}

/**
 * Makes the frame of a stored event. A record that this server wrote with the present schema is sent in
 * the text that the store keeps, with its seq put in; any other is written anew. All are validated
 * before, unless the projector has read the event already (`projected`): what it has folded is known to
 * be a record, and who comes late to a long run should not wait until that is found out once more.
 */
export function entryOf(event: RecordedEvent, projected: boolean): Entry {
  const seq = event.revision
  const kind = ownKindOf(event)
  if (projected && kind !== undefined) {
    return { type: 'frame', seq, kind, data: withSeq(event.data, seq) }
  }
  const decoded = decode(event)
  if (decoded.isErr()) return { type: 'damage', seq, message: decoded.error.message }
  const { record } = decoded.value
  const text = kind === record.kind ? event.data : JSON.stringify(record)
  return { type: 'frame', seq, kind: record.kind, data: withSeq(text, seq) }
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
  return withSeq(JSON.stringify(record), seq)
}

/**
 * The frame that stands once between history and live, for those who ask for it. It is no record, and
 * has neither iteration nor ts nor payload.
 */
export function caughtUpFrame(runId: string, seq: number): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'caught_up', run_id: runId, seq }))
}
