import type { BundlePart } from './bundle-format.ts'

/** An export in a file. Each call reads it from the beginning. */
export type BundleFile = () => AsyncIterable<BundlePart>

/** The archive ends early, is damaged, or is not exactly the one archive of an export. */
export class BrokenArchive extends Error {
  override readonly name = 'BrokenArchive'
}

/** Bytes. A header is one block; a file is padded to whole blocks. */
const BLOCK = 512
/** Bytes of a path in a header; all paths of an export are shorter. */
const PATH_BYTES = 100

/**
 * The tar of an export.
 * @param mtime the time of all parts, seconds since the epoch
 * @throws if a part has another size than it says
 */
export async function* tarOf(
  parts: AsyncIterable<BundlePart>,
  mtime: number,
): AsyncGenerator<Uint8Array> {
  for await (const { path, bytes, body } of parts) {
    yield headerOf(path, bytes, mtime)
    let left = bytes
    for await (const chunk of body) {
      left -= chunk.length
      yield chunk
    }
    if (left !== 0) throw new Error(`${path} has another size than ${bytes} bytes`)
    yield Buffer.alloc(paddingOf(bytes))
  }
  yield Buffer.alloc(2 * BLOCK)
}

/** How many bytes come after a part, up to the next whole block. */
const paddingOf = (bytes: number): number => -bytes & (BLOCK - 1)

/**
 * The parts of the tar of an export, in order. Each byte must be where `tarOf` puts it. Otherwise, two readers could see
 * two different archives.
 * @throws BrokenArchive
 */
export async function* tarParts(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<BundlePart> {
  const input = new Input(chunks)
  let mtime: number | null = null
  try {
    for (;;) {
      const block = await input.exactly(BLOCK)
      if (isZero(block)) break
      const part = partOf(block)
      mtime ??= part.mtime
      if (part.mtime !== mtime) throw new BrokenArchive(`${part.path} has another time`)
      const body = input.upTo(part.bytes)
      yield { ...part, body }
      // What the reader has left of it.
      for await (const _ of body);
      if (isZero(await input.exactly(paddingOf(part.bytes)))) continue
      throw new BrokenArchive(`something comes between ${part.path} and the next part`)
    }
    if (!isZero(await input.exactly(BLOCK))) throw new BrokenArchive('its end is missing')
    if ((await input.some(1)) !== null)
      throw new BrokenArchive('something comes after its last part')
  } finally {
    await input.close()
  }
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

/** @throws BrokenArchive unless the header is exactly what `tarOf` writes for this part */
function partOf(block: Buffer): Omit<BundlePart, 'body'> & { readonly mtime: number } {
  const octal = (from: number): number =>
    Number.parseInt(block.toString('latin1', from, from + 11), 8)
  const end = block.indexOf(0)
  const path = block.toString('latin1', 0, Math.min(end, PATH_BYTES))
  const [bytes, mtime] = [octal(124), octal(136)]
  if (block.equals(headerOf(path, bytes, mtime))) return { path, bytes, mtime }
  throw new BrokenArchive('it has a header that no part of an export has')
}

function headerOf(path: string, bytes: number, mtime: number): Buffer {
  const header = Buffer.alloc(BLOCK)
  const put = (value: number, at: number, digits: number): void => {
    if (value >= 0) header.write(value.toString(8).padStart(digits, '0'), at, 'latin1')
  }
  header.write(path, 'latin1')
  put(0o644, 100, 7)
  put(0, 108, 7)
  put(0, 116, 7)
  put(bytes, 124, 11)
  put(mtime, 136, 11)
  header.write('        0', 148, 'latin1')
  header.write('ustar\0' + '00', 257, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  put(sum, 148, 6)
  header.write('\0 ', 154, 'latin1')
  return header
}

/** Gives the bytes of chunks in other sizes. */
class Input {
  readonly #chunks: AsyncGenerator<Uint8Array>
  #held: Uint8Array = new Uint8Array()

  constructor(chunks: AsyncGenerator<Uint8Array>) {
    this.#chunks = chunks
  }

  /** @throws BrokenArchive if there are fewer */
  async exactly(count: number): Promise<Buffer> {
    const pieces: Uint8Array[] = []
    for await (const piece of this.upTo(count)) pieces.push(piece)
    return Buffer.concat(pieces)
  }

  /** The next bytes. May be iterated again for what is left of them. @throws BrokenArchive if there are fewer */
  upTo(count: number): AsyncIterable<Uint8Array> {
    const rest = { left: count }
    return { [Symbol.asyncIterator]: () => this.#take(rest) }
  }

  async *#take(rest: { left: number }): AsyncGenerator<Uint8Array> {
    while (rest.left > 0) {
      const piece = await this.some(rest.left)
      if (piece === null) throw new BrokenArchive('it ends early')
      rest.left -= piece.length
      yield piece
    }
  }

  /** At least one byte; null at the end. */
  async some(most: number): Promise<Uint8Array | null> {
    while (this.#held.length === 0) {
      const { done, value } = await this.#chunks.next()
      if (done) return null
      this.#held = value
    }
    const piece = this.#held.subarray(0, most)
    this.#held = this.#held.subarray(piece.length)
    return piece
  }

  async close(): Promise<void> {
    await this.#chunks.return(undefined)
  }
}

/** The beginning of a gzip member that retrAI wrote: DEFLATE, no flags, no time, the default effort. */
export const START = Buffer.from('1f8b0800000000000000', 'hex')
/** Its last byte names the system it was written on: for zlib, Unix, Windows or macOS. */
const SYSTEMS = new Set([3, 10, 19])

/** @throws BrokenArchive unless an archive begins with these bytes as that of an export */
export function checkStart(start: Buffer): void {
  const isKnown = SYSTEMS.has(start.readUInt8(START.length - 1))
  if (isKnown && start.subarray(0, -1).equals(START.subarray(0, -1))) return
  throw new BrokenArchive(
    'it does not begin as the gzip file of an export does. Get it as the server exported it: a browser or another program may have unpacked it, or packed it again',
  )
}
