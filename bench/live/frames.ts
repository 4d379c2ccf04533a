/** Called for each frame of a WebSocket: text, ping and close. */
export type FrameUser = {
  /** @param at the offset of the payload in the buffer */
  readonly text: (buffer: Buffer, at: number, length: number) => void
  readonly ping: (payload: Buffer) => void
  readonly close: (code: number) => void
}

const NOTHING = Buffer.alloc(0)
const TEXT = 0x1
const CLOSE = 0x8
const PING = 0x9

/** Splits the stream of a server into its frames, which are neither masked nor fragmented. */
export class FrameParser {
  readonly #user: FrameUser
  #rest: Buffer = NOTHING

  constructor(user: FrameUser) {
    this.#user = user
  }

  take(chunk: Buffer): void {
    const buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (buffer.length - at >= 2) {
      const short = (buffer[at + 1] ?? 0) & 0x7f
      const header = short < 126 ? 2 : short === 126 ? 4 : 10
      if (buffer.length - at < header) break
      const length =
        short < 126
          ? short
          : short === 126
            ? buffer.readUInt16BE(at + 2)
            : buffer.readUIntBE(at + 4, 6)
      const start = at + header
      if (buffer.length < start + length) break
      this.#use((buffer[at] ?? 0) & 0xf, buffer, start, length)
      at = start + length
    }
    this.#rest = at === buffer.length ? NOTHING : buffer.subarray(at)
  }

  #use(opcode: number, buffer: Buffer, at: number, length: number): void {
    if (opcode === TEXT) this.#user.text(buffer, at, length)
    else if (opcode === PING) this.#user.ping(buffer.subarray(at, at + length))
    else if (opcode === CLOSE) this.#user.close(length >= 2 ? buffer.readUInt16BE(at) : 1005)
  }
}

/** A pong as a client sends it, with a mask of zeros. */
export function pongFrame(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x8a, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}
