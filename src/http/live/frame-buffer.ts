/**
 * A text frame as the server sends it over a WebSocket (RFC 6455): the bytes of `memory` from `start` to
 * `end`. The payload begins at `at`.
 */
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

/**
 * Memory that holds frames one after the other. Adjacent frames are sent together, to any number of
 * sockets, without a copy.
 */
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
