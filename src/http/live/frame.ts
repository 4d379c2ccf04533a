import type { Form } from '../../api/event-query.ts'
import type { Kind, RunRecord } from '../../domain/records.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type EncodedFrame, FrameBuffer, frameSize } from './frame-buffer.ts'
import { type Damage, placeSuffix, type RecordJson, recordJsonOf } from './record-json.ts'

/** A record as observers get it, encoded once and shared by all of them. */
export class Frame implements EncodedFrame {
  readonly type = 'frame'
  readonly seq: number
  readonly kind: Kind
  readonly memory: Buffer
  readonly start: number
  readonly at: number
  readonly end: number

  constructor(seq: number, kind: Kind, { memory, start, at, end }: EncodedFrame) {
    this.seq = seq
    this.kind = kind
    this.memory = memory
    this.start = start
    this.at = at
    this.end = end
  }

  /** Its JSON. Created on demand, because many frames are kept. */
  get data(): Buffer {
    return this.memory.subarray(this.at, this.end)
  }
}

/** What observers of a run read in place of a stored event. */
export type RunFrame = Frame | Damage

export const isEnd = (frame: RunFrame): boolean =>
  frame.type === 'frame' && frame.kind === 'run_end'

export const sizeOf = (frame: RunFrame): number =>
  frame.type === 'frame' ? frame.end - frame.at : 0

/**
 * The frames of stored events, one after the other in memory.
 * @param projected the seq up to which the projector has read them
 */
export function framesOf(
  events: readonly RecordedEvent[],
  projected: number,
  form: Form = 'record',
): RunFrame[] {
  return encodeFrames(events.map((event) => recordJsonOf(event, event.revision <= projected, form)))
}

/** Encodes records one after the other in memory; what is not a record stays as it is. */
export function encodeFrames<D extends Damage>(
  records: readonly (RecordJson | D)[],
): (Frame | D)[] {
  const sized = records.map((record) => {
    if (record.type === 'damage') return { record, bytes: 0, tail: 0, size: 0 }
    const tail = Buffer.byteLength(record.suffix)
    const bytes = Buffer.byteLength(record.json) - 1 + tail
    return { record, bytes, tail, size: frameSize(bytes) }
  })
  const buffer = new FrameBuffer(sized.reduce((sum, { size }) => sum + size, 0))
  return sized.map(({ record, bytes, tail }) => {
    if (record.type === 'damage') return record
    const encoded = buffer.add(bytes, (memory, at) => {
      memory.write(record.json, at)
      memory.write(record.suffix, at + bytes - tail)
    })
    return new Frame(record.seq, record.kind, encoded)
  })
}

/** An `error` that no record stands for: why the server ends an observation, or cannot read a record. */
export function errorRecord(runId: string, ts: number, message: string): RunRecord {
  return { kind: 'error', run_id: runId, iteration: 0, ts, payload: { message, traceback: '' } }
}

/**
 * The frame that reports why the server ends an observation. Its seq is the cursor of the observer, so
 * that a client that resumes after the last seq it saw misses nothing.
 */
export function refusalFrame(runId: string, seq: number, ts: number, message: string): Buffer {
  const json = JSON.stringify(errorRecord(runId, ts, message))
  return Buffer.from(json.slice(0, -1) + placeSuffix(seq))
}

/**
 * The frame between history and live, for clients that ask for it. It is not a record, and has no
 * iteration, ts or payload.
 */
export function caughtUpFrame(runId: string, seq: number): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'caught_up', run_id: runId, seq }))
}
