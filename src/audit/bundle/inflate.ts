import { constants, crc32, createInflateRaw } from 'node:zlib'

/** Bytes. Small, because the output of the piece in which damage shows is lost. Smaller pieces cost time. */
const PIECE = 1024
/** The beginning of a gzip member that retrAI wrote: DEFLATE, no flags, no time, the default effort. */
const START = Buffer.from('1f8b0800000000000000', 'hex')
/** Its last byte names the system it was written on: for zlib, Unix, Windows or macOS. */
const SYSTEMS = new Set([3, 10, 19])
/** Bytes of the checksum and the length at the end. */
const TRAILER = 8

/** The archive ends early, is damaged, or is not exactly the one archive of an export. */
export class BrokenArchive extends Error {
  override readonly name = 'BrokenArchive'
}

/**
 * Inflates a gzip file of exactly one member. zlib's own streams drop output when they fail, and accept more members.
 * @throws BrokenArchive after everything before the damage has been yielded
 */
export async function* inflated(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const inflating = new Inflating()
  let start = Buffer.alloc(0)
  try {
    for await (const chunk of archive) {
      const known = start.length < START.length ? Buffer.concat([start, chunk]) : chunk
      const from = start.length < START.length ? START.length : 0
      if (from > 0) start = Buffer.from(known.subarray(0, from))
      if (from > 0 && start.length === START.length) checkStart(start)
      for (let at = from; at < known.length; at += PIECE) {
        yield* await inflating.take(known.subarray(at, at + PIECE))
        inflating.check()
      }
    }
    yield* await inflating.end()
    inflating.checkEnd()
  } catch (cause) {
    if (cause instanceof BrokenArchive) throw cause
    throw new BrokenArchive(`the rest cannot be read: ${String(cause)}`)
  } finally {
    inflating.close()
  }
}

function checkStart(start: Buffer): void {
  const known = SYSTEMS.has(start.readUInt8(START.length - 1))
  if (known && start.subarray(0, -1).equals(START.subarray(0, -1))) return
  throw new BrokenArchive('it does not begin as the gzip file of an export does')
}

/** Inflates one piece after the other, and finds where the compressed data end. */
class Inflating {
  // If a file ends early, everything that is there is inflated.
  readonly #raw = createInflateRaw({ finishFlush: constants.Z_SYNC_FLUSH })
  #ready: Uint8Array[] = []
  #failure: Error | null = null
  #wake: () => void = () => {}
  #fed = 0
  #crc = 0
  #length = 0
  /** What comes after the compressed data; null before their end. */
  #rest: Uint8Array | null = null

  constructor() {
    this.#raw.on('data', (chunk: Uint8Array) => this.#ready.push(chunk))
    this.#raw.on('end', () => this.#wake())
    this.#raw.on('error', (error) => {
      this.#failure = error
      this.#wake()
    })
  }

  async take(piece: Uint8Array): Promise<Uint8Array[]> {
    if (this.#rest !== null) {
      this.#rest = Buffer.concat([this.#rest, piece])
      return []
    }
    // After the end of the data, the callback does not come; the event `end` does.
    await this.#done(() => this.#raw.write(piece, () => this.#wake()))
    this.#fed += piece.length
    const left = this.#fed - this.#raw.bytesWritten
    if (this.#failure === null && left > 0) this.#rest = piece.subarray(piece.length - left)
    return this.#taken()
  }

  /** @throws BrokenArchive if no more can be read */
  check(): void {
    if (this.#failure !== null) {
      throw new BrokenArchive(`it is damaged: ${this.#failure.message}`)
    }
    if ((this.#rest?.length ?? 0) > TRAILER) throw new BrokenArchive('bytes come after its end')
  }

  async end(): Promise<Uint8Array[]> {
    if (this.#rest === null) await this.#done(() => this.#raw.end())
    return this.#taken()
  }

  /** @throws BrokenArchive unless the archive is whole and unaltered */
  checkEnd(): void {
    this.check()
    if (this.#rest?.length !== TRAILER) throw new BrokenArchive('it ends early')
    const trailer = Buffer.from(this.#rest)
    if (trailer.readUInt32LE(0) !== this.#crc) throw new BrokenArchive('its checksum is wrong')
    if (trailer.readUInt32LE(4) === this.#length % 2 ** 32) return
    throw new BrokenArchive('its length is not the one that it names')
  }

  close(): void {
    this.#raw.destroy()
  }

  #taken(): Uint8Array[] {
    const chunks = this.#ready
    this.#ready = []
    for (const chunk of chunks) {
      this.#crc = crc32(chunk, this.#crc)
      this.#length += chunk.length
    }
    return chunks
  }

  #done(start: () => void): Promise<void> {
    if (this.#failure !== null) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
      start()
    })
  }
}
