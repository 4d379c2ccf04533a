import type { Form } from '../../api/event-query.ts'
import type { Kind, RunRecord } from '../../domain/records.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type Damage, placeSuffix, type RecordJson, recordJsonOf } from './record-json.ts'

/** A text frame for a WebSocket (RFC 6455): the bytes of `memory` from `start` to `end`. The payload begins at `at`. */
export type EncodedFrame = {
  readonly memory: Buffer
  readonly start: number
  readonly at: number
  readonly end: number
}

/** The first byte of a text message that is one frame. */
const FIN_TEXT = 0x81
/** The largest payloads whose length fits into one byte, and into the two bytes after it. */
const [SHORT, MEDIUM] = [125, 0xffff]

const headerSize = (payload: number): number => (payload <= SHORT ? 2 : payload <= MEDIUM ? 4 : 10)

/** Bytes of the frame of a payload. */
export const frameSize = (payload: number): number => headerSize(payload) + payload

/** Memory that holds frames one after the other. Adjacent frames go out together, to many sockets, without a copy. */
export class FrameBuffer {
  readonly #memory: Buffer
  #used = 0

  /** @param bytes the `frameSize` of all frames that will be added */
  constructor(bytes: number) {
    this.#memory = Buffer.allocUnsafe(bytes)
  }

  /** Adds a frame. @param write writes a payload of this many bytes at the given place */
  add(payload: number, write: (memory: Buffer, at: number) => void): EncodedFrame {
    const start = this.#used
    const at = start + headerSize(payload)
    const end = at + payload
    if (end > this.#memory.length) throw new RangeError('the frame does not fit into its buffer')
    writeHeader(this.#memory, start, payload)
    write(this.#memory, at)
    this.#used = end
    return { memory: this.#memory, start, at, end }
  }
}

function writeHeader(memory: Buffer, start: number, payload: number): void {
  memory[start] = FIN_TEXT
  if (payload <= SHORT) {
    memory[start + 1] = payload
  } else if (payload <= MEDIUM) {
    memory[start + 1] = 126
    memory.writeUInt16BE(payload, start + 2)
  } else {
    memory[start + 1] = 127
    memory.writeUInt16BE(0, start + 2)
    memory.writeUIntBE(payload, start + 4, 6)
  }
}

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

  /** Its JSON. A view that is created on demand, because many frames are kept. */
  get data(): Buffer {
    return this.memory.subarray(this.at, this.end)
  }
}

/** What observers of a run get for a stored event. */
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

/** Encodes records one after the other in memory. Damage stays as it is. */
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

/** An `error` that is not stored: why the server ends an observation, or cannot read a record. */
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

/** The frame between history and live, for clients that ask for it. Not a record: no iteration, ts or payload. */
export function caughtUpFrame(runId: string, seq: number): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'caught_up', run_id: runId, seq }))
}
