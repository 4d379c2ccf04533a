import type { Form } from '../../api/event-query.ts'
import { ALL_KINDS, type Kind, type RunRecord } from '../../domain/records.ts'
import { decode, SCHEMA } from '../../log/codec.ts'
import { cursorOf, runOf } from '../../log/feed-cursor.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { Position, RecordedEvent } from '../../store/event-store.ts'

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
const SHORT = 125
const MEDIUM = 0xffff

const headerSize = (payload: number): number => (payload <= SHORT ? 2 : payload <= MEDIUM ? 4 : 10)

/** Bytes of the frame of a payload. */
export const frameSize = (payload: number): number => headerSize(payload) + payload

/** Memory that holds frames one after the other, for all sockets that they go to. */
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

/** The payload of an encoded frame. A view that is made on demand, because many frames are kept. */
export const payloadOf = ({ memory, at, end }: Omit<EncodedFrame, 'start'>): Buffer =>
  memory.subarray(at, end)

/** Bytes of its payload. */
export const sizeOf = ({ at, end }: EncodedFrame): number => end - at

/** A record as observers get it, encoded once and shared by all of them. */
export type Frame = EncodedFrame & {
  readonly runId: string
  readonly seq: number
  readonly kind: Kind
  /** The `after` of what follows: the seq or, among the records of all runs, the cursor. */
  readonly place: number | string
  readonly position: Position
  /** Why the stored event is not a record; null if it is one. Then this is an `error` in its place. */
  readonly damage: string | null
}

/** Where the frames are for, and in which form. */
export type Framing = {
  readonly form: Form
  /** Frames of all runs have a cursor. */
  readonly ofAll: boolean
  readonly readModel: Pick<ReadModel, 'get'>
}

/** The frames of stored events, one after the other in memory. Events of streams that hold no run are left out. */
export function framesOf(events: readonly RecordedEvent[], framing: Framing): Frame[] {
  const served = events.flatMap((event) => serve(event, framing) ?? [])
  const sizes = served.map(
    ({ json, suffix }) => Buffer.byteLength(json) - 1 + Buffer.byteLength(suffix),
  )
  const buffer = new FrameBuffer(sizes.reduce((sum, bytes) => sum + frameSize(bytes), 0))
  return served.map(({ facts, json, suffix }, index) => {
    const { memory, start, at, end } = buffer.add(sizes[index] ?? 0, (memory, at) => {
      memory.write(suffix, at + memory.write(json, at) - 1)
    })
    return { ...facts, memory, start, at, end }
  })
}

/** A stored event before it is encoded. The suffix replaces the last brace of the JSON. */
type Served = {
  readonly facts: Omit<Frame, keyof EncodedFrame>
  readonly json: string
  readonly suffix: string
}

/**
 * An event is validated first, unless the projector has folded it already: then it is a record, and a client that joins a
 * long run late does not wait for a second validation.
 */
function serve(event: RecordedEvent, { form, ofAll, readModel }: Framing): Served | null {
  const runId = runOf(event.stream)
  if (runId === null) return null
  const { revision: seq, position } = event
  const cursor = ofAll ? cursorOf(runId, event) : undefined
  const at = { runId, seq, position, place: cursor ?? seq }
  const place = cursor === undefined ? `,"seq":${seq}` : `,"seq":${seq},"cursor":"${cursor}"`
  const damaged = (why: string): Served => {
    const damage = `Record ${seq} of this run cannot be read: ${why}. See the server's log.`
    const json = JSON.stringify(errorRecord(runId, event.created / 1000, damage))
    return { facts: { ...at, kind: 'error', damage }, json, suffix: `${place}}` }
  }
  const isProjected = seq <= (readModel.get(runId)?.state.seq ?? -1)
  const record = recordJsonOf(event, isProjected)
  if ('message' in record) return damaged(record.message)
  const meta = form === 'record' ? '' : metaOf(event)
  if (meta === null) return damaged('its metadata is not JSON')
  const { kind, json } = record
  return { facts: { ...at, kind, damage: null }, json, suffix: `${place}${meta}}` }
}

/** An `error` that is not stored: why the server ends an observation, or cannot read a record. */
function errorRecord(runId: string, ts: number, message: string): RunRecord {
  return { kind: 'error', run_id: runId, iteration: 0, ts, payload: { message, traceback: '' } }
}

/**
 * The frame that reports why the server ends an observation. Its seq is that of the last record that the observer has, so
 * that a client that resumes after the last seq it saw misses nothing.
 */
export const refusalFrame = (runId: string, seq: number, ts: number, message: string): Buffer =>
  Buffer.from(JSON.stringify({ ...errorRecord(runId, ts, message), seq }))

/**
 * The id and the metadata of an event as further members of a JSON object, on one line; null if the metadata is not JSON.
 * It is sent as it is stored: verification must not depend on what this server understands.
 */
function metaOf({ id, metadata }: RecordedEvent): string | null {
  try {
    return `,"id":${JSON.stringify(id)},"meta":${JSON.stringify(JSON.parse(metadata))}`
  } catch {
    return null
  }
}

/**
 * The JSON of a stored record, or why it is not a record. One of the present schema that this server wrote is served as
 * stored; any other is serialized again. @param projected whether it was validated before
 */
export function recordJsonOf(
  event: RecordedEvent,
  projected: boolean,
): { readonly kind: Kind; readonly json: string } | { readonly message: string } {
  const kind = ownKindOf(event)
  if (projected && kind !== undefined) return { kind, json: event.data }
  const decoded = decode(event)
  if (decoded.isErr()) return { message: decoded.error.message }
  const { record } = decoded.value
  const json = kind === record.kind ? event.data : JSON.stringify(record)
  return { kind: record.kind, json }
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
