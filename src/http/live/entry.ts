import type { Form } from '../../api/event-query.ts'
import type { Kind, RunRecord } from '../../domain/records.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type Damage, seqSuffix, type Text, textOf } from './text.ts'
import { type Framed, framedSize, Slab } from './wire.ts'

/** A record as observers get it, encoded once and shared by all of them. */
export class Frame implements Framed {
  readonly type = 'frame'
  readonly seq: number
  readonly kind: Kind
  readonly memory: Buffer
  readonly start: number
  readonly at: number
  readonly end: number

  constructor(seq: number, kind: Kind, { memory, start, at, end }: Framed) {
    this.seq = seq
    this.kind = kind
    this.memory = memory
    this.start = start
    this.at = at
    this.end = end
  }

  /** Its JSON. Made when it is asked for: the frames that are kept are many. */
  get data(): Buffer {
    return this.memory.subarray(this.at, this.end)
  }
}
export type Entry = Frame | Damage

export const isEnd = (entry: Entry): boolean => entry.type === 'frame' && entry.kind === 'run_end'

export const sizeOf = (entry: Entry): number => (entry.type === 'frame' ? entry.end - entry.at : 0)

/**
 * Makes the frames of stored events, one behind the other in memory.
 * @param projected the seq up to which the projector has read them
 */
export function entriesOf(
  events: readonly RecordedEvent[],
  projected: number,
  form: Form = 'record',
): Entry[] {
  const read = events.map((event) => sized(textOf(event, event.revision <= projected, form)))
  const slab = new Slab(read.reduce((sum, { bytes }) => sum + framedSize(bytes), 0))
  return read.map((one) => placed(one, slab))
}

/** Makes the frame of one stored event. */
export function entryOf(event: RecordedEvent, projected: boolean): Entry {
  const one = sized(textOf(event, projected))
  return placed(one, new Slab(framedSize(one.bytes)))
}

/** A text and the bytes of its frame; `tail` of them are its suffix. */
type Sized = { readonly text: Text | Damage; readonly bytes: number; readonly tail: number }

function sized(text: Text | Damage): Sized {
  if (text.type === 'damage') return { text, bytes: 0, tail: 0 }
  const tail = Buffer.byteLength(text.suffix)
  return { text, bytes: Buffer.byteLength(text.json) - 1 + tail, tail }
}

function placed({ text, bytes, tail }: Sized, slab: Slab): Entry {
  if (text.type === 'damage') return text
  const framed = slab.frame(bytes, (memory, at) => {
    memory.write(text.json, at)
    memory.write(text.suffix, at + bytes - tail)
  })
  return new Frame(text.seq, text.kind, framed)
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
