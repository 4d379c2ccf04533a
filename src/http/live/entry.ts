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

export const sizeOf = (entry: Entry): number => (entry.type === 'frame' ? entry.data.length : 0)

/** Puts the seq behind the last key of a JSON object. */
const withSeq = (json: string, seq: number): Buffer => {
  return Buffer.from(`${json.slice(0, -1)},"seq":${seq}}`)
}

/**
 * Makes the frame of a stored event. `projected` says that the projector has read this event before:
 * then it is known to be a valid record with exactly the five documented keys, and where it also was
 * written in our own way and with the present schema, its text is the frame already, but for the seq.
 * All others are decoded, which validates them and brings them to the present schema.
 */
export function entryOf(event: RecordedEvent, projected: boolean): Entry {
  const seq = event.revision
  const kind = projected ? plainKindOf(event) : undefined
  if (kind !== undefined) return { type: 'frame', seq, kind, data: withSeq(event.data, seq) }
  const decoded = decode(event)
  if (decoded.isErr()) return { type: 'damage', seq, message: decoded.error.message }
  const { record } = decoded.value
  return { type: 'frame', seq, kind: record.kind, data: withSeq(JSON.stringify(record), seq) }
}

const PRESENT_SCHEMA = `{"schema":${SCHEMA},`
/** How the text of each kind begins, where this server wrote it. */
const BEGINNINGS = new Map(
  ALL_KINDS.map((kind) => [kind as string, { kind, text: `{"kind":"${kind}",` }]),
)

function plainKindOf({ type, data, metadata }: RecordedEvent): Kind | undefined {
  const beginning = BEGINNINGS.get(type)
  if (beginning === undefined || !data.startsWith(beginning.text)) return undefined
  return data.endsWith('}') && metadata.startsWith(PRESENT_SCHEMA) ? beginning.kind : undefined
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
