import * as z from 'zod'
import type { Position, RecordedEvent } from '../event-store.ts'

/** A place in $all. */
export type LogPosition = { readonly commit: bigint; readonly prepare: bigint }

/** An event with its place in $all. */
export type StoredEvent = { readonly recorded: RecordedEvent; readonly place: LogPosition }

/** What a read or a subscription delivers. */
export type Message =
  | { readonly type: 'event'; readonly event: StoredEvent }
  /** The server has passed this place without an event. */
  | { readonly type: 'passed'; readonly place: LogPosition }
  | { readonly type: 'stream_not_found' | 'fell_behind' | 'other' }

/**
 * Reads a ReadResp of EventStoreDB's protocol. The generated reader makes objects for each part of it and copies its
 * bytes three times; that takes longer than all the rest of reading an event.
 * @throws RangeError if the message is cut off
 */
export function readMessage(bytes: Buffer): Message {
  const reader = new ProtobufReader(bytes)
  let message: Message = { type: 'other' }
  for (let field = reader.field(bytes.length); field !== 0; field = reader.field(bytes.length)) {
    if (field === 1) message = readEvent(reader, reader.end()) ?? message
    else if (field === 3) message = { type: 'passed', place: readPlace(reader, reader.end()) }
    else {
      if (field === 4) message = { type: 'stream_not_found' }
      if (field === 9) message = { type: 'fell_behind' }
      reader.skip()
    }
  }
  return message
}

/** Null for a link to an event that is not there any more. */
function readEvent(reader: ProtobufReader, end: number): Message | null {
  let event: StoredEvent | null = null
  for (let field = reader.field(end); field !== 0; field = reader.field(end)) {
    if (field === 1) event = readRecorded(reader, reader.end())
    else reader.skip()
  }
  return event === null ? null : { type: 'event', event }
}

function readPlace(reader: ProtobufReader, end: number): LogPosition {
  let commit = 0n
  let prepare = 0n
  for (let field = reader.field(end); field !== 0; field = reader.field(end)) {
    if (field === 1) commit = reader.bigint()
    else if (field === 2) prepare = reader.bigint()
    else reader.skip()
  }
  return { commit, prepare }
}

/** EventStoreDB counts time in these. */
const TICKS_PER_MS = 10_000

function readRecorded(reader: ProtobufReader, end: number): StoredEvent {
  let id = ''
  let stream = ''
  let type = ''
  let contentType = ''
  let metadata = ''
  let data = ''
  let revision = 0
  let created = 0
  let prepare = 0n
  let commit = 0n
  for (let field = reader.field(end); field !== 0; field = reader.field(end)) {
    if (field === 1) id = readText(reader, 2)
    else if (field === 2) stream = readText(reader, 3)
    else if (field === 3) revision = reader.number()
    else if (field === 4) prepare = reader.bigint()
    else if (field === 5) commit = reader.bigint()
    else if (field === 6) {
      const [name, value] = readEntry(reader)
      if (name === 'type') type = value
      else if (name === 'content-type') contentType = value
      else if (name === 'created') created = Math.floor(Number(value) / TICKS_PER_MS)
    } else if (field === 7) metadata = reader.text()
    else if (field === 8) data = reader.text()
    else reader.skip()
  }
  return {
    place: { commit, prepare },
    recorded: {
      stream,
      id: id.toLowerCase(),
      revision,
      type,
      data: contentType === 'application/json' ? asWritten(data) : data,
      metadata: asWritten(metadata || 'null'),
      position: encodePosition({ commit, prepare }),
      created,
    },
  }
}

/** The text in one field of a message. */
function readText(reader: ProtobufReader, wanted: number): string {
  let text = ''
  const end = reader.end()
  for (let field = reader.field(end); field !== 0; field = reader.field(end)) {
    if (field === wanted) text = reader.text()
    else reader.skip()
  }
  return text
}

/** An entry of a map of texts. */
function readEntry(reader: ProtobufReader): readonly [name: string, value: string] {
  let name = ''
  let value = ''
  const end = reader.end()
  for (let field = reader.field(end); field !== 0; field = reader.field(end)) {
    if (field === 1) name = reader.text()
    else if (field === 2) value = reader.text()
    else reader.skip()
  }
  return [name, value]
}

/** JSON text as `JSON.stringify` writes it; other text as it is. */
function asWritten(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}

/** Links, tombstones and other events that EventStoreDB writes into streams for itself. */
export const isSystemEvent = ({ recorded }: StoredEvent): boolean => recorded.type.startsWith('$')

const PositionText = z.string().regex(/^\d+:\d+$/)

const encodePosition = ({ commit, prepare }: LogPosition): Position => {
  return `${commit}:${prepare}`
}

/** @throws ZodError for a position that is not of this store */
export function decodePosition(position: Position): LogPosition {
  const [commit = '', prepare = ''] = PositionText.parse(position).split(':')
  return { commit: BigInt(commit), prepare: BigInt(prepare) }
}

/** A read of a stream may return another prepare position than $all, where commit and prepare are equal. */
export const positionInAll = ({ recorded, place }: StoredEvent): RecordedEvent => {
  const { commit, prepare } = place
  if (commit === prepare) return recorded
  return { ...recorded, position: encodePosition({ commit, prepare: commit }) }
}

/** Above this many bytes, a varint may be larger than a number can hold exactly. */
const EXACT_BYTES = 7

/** Reads the fields of protobuf messages in a buffer, without copying it. */
class ProtobufReader {
  readonly #bytes: Buffer
  #at = 0
  #wireType = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The number of the next field in a message that ends at `end`; 0 after the last one. Read its value, or skip it. */
  field(end: number): number {
    if (this.#at >= end) return 0
    const tag = this.number()
    this.#wireType = tag & 7
    return tag >>> 3
  }

  /** A varint. Loses digits beyond 2^53. */
  number(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#byte()
      value += (byte & 0x7f) * factor
      if (byte < 128) return value
    }
  }

  /** A varint, exactly. */
  bigint(): bigint {
    const start = this.#at
    const value = this.number()
    if (this.#at - start <= EXACT_BYTES) return BigInt(value)
    let exact = 0n
    for (let at = this.#at - 1; at >= start; at -= 1) {
      exact = (exact << 7n) | BigInt((this.#bytes[at] ?? 0) & 0x7f)
    }
    return exact
  }

  /** Enters a message, or begins bytes or text; returns where it ends. */
  end(): number {
    const length = this.number()
    const end = this.#at + length
    if (end > this.#bytes.length) throw new RangeError('a message is cut off')
    return end
  }

  text(): string {
    const end = this.end()
    const text = this.#bytes.toString('utf8', this.#at, end)
    this.#at = end
    return text
  }

  /** Skips the value of the field whose number was read last. */
  skip(): void {
    if (this.#wireType === 0) this.number()
    else if (this.#wireType === 1) this.#at += 8
    else if (this.#wireType === 5) this.#at += 4
    else this.#at = this.end()
  }

  #byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new RangeError('a message is cut off')
    this.#at += 1
    return byte
  }
}
