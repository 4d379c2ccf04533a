import { constants, crc32, createInflateRaw } from 'node:zlib'
import { oneAhead } from '../../lib/one-ahead.ts'
import { MANIFEST, README } from './bundle-format.ts'

/** Bytes that are inflated at once. */
const PIECE = 8 * 1024
/**
 * Bytes of output in one chunk. The chunk in which damage shows is lost. Each chunk is made in another thread, and to wait
 * for a small one takes longer than to make it.
 */
const CHUNK = 128 * 1024
/** The beginning of a gzip member that retrAI wrote: DEFLATE, no flags, no time, the default effort. */
const START = Buffer.from('1f8b0800000000000000', 'hex')
/** Its last byte names the system it was written on: for zlib, Unix, Windows or macOS. */
const SYSTEMS = new Set([3, 10, 19])
/** With which an export begins when it is not compressed any more. */
const FIRST_PARTS = [README, MANIFEST]
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
  try {
    for await (const { chunks, problem } of oneAhead(inflatedPieces(archive, inflating))) {
      yield* chunks
      if (problem !== null) throw problem
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

/** @throws BrokenArchive unless the archive begins as that of an export */
async function* inflatedPieces(
  archive: AsyncIterable<Uint8Array>,
  inflating: Inflating,
): AsyncGenerator<Taken> {
  let start = Buffer.alloc(0)
  for await (const chunk of archive) {
    const known = start.length < START.length ? Buffer.concat([start, chunk]) : chunk
    const from = start.length < START.length ? START.length : 0
    if (from > 0) start = Buffer.from(known.subarray(0, from))
    if (from > 0 && start.length === START.length) checkStart(start)
    for (let at = from; at < known.length; at += PIECE) {
      yield await inflating.take(known.subarray(at, at + PIECE))
    }
  }
}

function checkStart(start: Buffer): void {
  const known = SYSTEMS.has(start.readUInt8(START.length - 1))
  if (known && start.subarray(0, -1).equals(START.subarray(0, -1))) return
  const text = start.toString('latin1')
  const why = text.startsWith('\x1f\x8b')
    ? 'another program has packed it again'
    : FIRST_PARTS.some((path) => path.startsWith(text))
      ? 'it was unpacked, as some browsers and mail programs do'
      : null
  const advice = why === null ? '' : `: ${why}. Get it as the server exported it`
  throw new BrokenArchive(`it does not begin as the gzip file of an export does${advice}`)
}

/** What a piece has brought, and why nothing can be read after it; null if more can. */
type Taken = { readonly chunks: readonly Uint8Array[]; readonly problem: BrokenArchive | null }

/** Inflates one piece after the other, and finds where the compressed data end. */
class Inflating {
  // If a file ends early, everything that is there is inflated.
  readonly #raw = createInflateRaw({
    chunkSize: CHUNK,
    finishFlush: constants.Z_SYNC_FLUSH,
  })
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

  async take(piece: Uint8Array): Promise<Taken> {
    if (this.#rest === null) await this.#inflate(piece)
    else this.#rest = Buffer.concat([this.#rest, piece])
    return { chunks: this.#taken(), problem: this.#problem() }
  }

  async #inflate(piece: Uint8Array): Promise<void> {
    // After the end of the data, the callback does not come; the event `end` does.
    await this.#done(() => this.#raw.write(piece, () => this.#wake()))
    this.#fed += piece.length
    const left = this.#fed - this.#raw.bytesWritten
    if (this.#failure === null && left > 0) this.#rest = piece.subarray(piece.length - left)
  }

  #problem(): BrokenArchive | null {
    if (this.#failure !== null) return new BrokenArchive(`it is damaged: ${this.#failure.message}`)
    const isOver = (this.#rest?.length ?? 0) > TRAILER
    return isOver ? new BrokenArchive('bytes come after its end') : null
  }

  async end(): Promise<readonly Uint8Array[]> {
    if (this.#rest === null) await this.#done(() => this.#raw.end())
    return this.#taken()
  }

  /** @throws BrokenArchive unless the archive is whole and unaltered */
  checkEnd(): void {
    const problem = this.#problem()
    if (problem !== null) throw problem
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
