/**
 * A text frame as the server sends it over a WebSocket (RFC 6455): the bytes of `memory` from `start` to
 * `end`, with the payload from `at` on.
 */
export type Framed = {
  readonly memory: Buffer
  readonly start: number
  readonly at: number
  readonly end: number
}

/** Text, and nothing comes behind it that belongs to it. */
const FIN_TEXT = 0x81
/** The largest payloads whose length fits the one byte, or the two behind it. */
const [SHORT, MEDIUM] = [125, 0xffff]

const headerSize = (payload: number): number => (payload <= SHORT ? 2 : payload <= MEDIUM ? 4 : 10)

/** Bytes of the frame of a payload. */
export const framedSize = (payload: number): number => headerSize(payload) + payload

/**
 * Memory in which frames are laid one behind the other: those that stand together can be sent together,
 * to any number of sockets, without being copied.
 */
export class Slab {
  readonly #memory: Buffer
  #used = 0

  /** @param bytes the `framedSize` of all that will be put in */
  constructor(bytes: number) {
    this.#memory = Buffer.allocUnsafe(bytes)
  }

  /** Frames a payload of so many bytes, which `write` puts where it belongs. */
  frame(payload: number, write: (memory: Buffer, at: number) => void): Framed {
    const start = this.#used
    const at = start + headerSize(payload)
    const end = at + payload
    if (end > this.#memory.length) throw new RangeError('more is put in than there is room for')
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
