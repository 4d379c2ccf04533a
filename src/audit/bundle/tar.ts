import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { createTarPacker } from 'modern-tar'
import type { BundlePart } from './bundle-format.ts'
import { BrokenArchive, inflated } from './inflate.ts'

/** Packs parts as a .tar.gz, at constant memory. If a part fails, the stream fails. */
export function packed(parts: AsyncIterable<BundlePart>, mtime: Date): Readable {
  const { readable, controller } = createTarPacker()
  const archive = createGzip()
  const tar = Readable.fromWeb(readable)
  tar.on('error', (error) => archive.destroy(error))
  // A reader may leave before the end.
  archive.on('close', () => tar.destroy())
  fill(parts, controller, mtime).catch((cause: unknown) => {
    controller.error(cause)
  })
  return tar.pipe(archive)
}

async function fill(
  parts: AsyncIterable<BundlePart>,
  controller: ReturnType<typeof createTarPacker>['controller'],
  mtime: Date,
): Promise<void> {
  for await (const { path, bytes, body } of parts) {
    const header = { name: path, size: bytes, type: 'file', mode: 0o644, mtime } as const
    const writer = controller.add(header).getWriter()
    for await (const chunk of body) await writer.write(new Uint8Array(chunk))
    await writer.close()
  }
  controller.finalize()
}

/** Bytes. A header is one block; a file is padded to whole blocks. */
const BLOCK = 512
/** Bytes of a path in a header; all paths of an export are shorter. */
const PATH_BYTES = 100
/** The place of the time in a header, and its octal digits. */
const [MTIME, MTIME_DIGITS] = [136, 11] as const

/**
 * The parts of a .tar.gz, in order. Each byte must be where `packed` puts it. Otherwise, two readers could see two
 * different archives.
 * @throws BrokenArchive
 */
export async function* unpacked(archive: Readable): AsyncGenerator<BundlePart> {
  const input = new Input(inflated(archive))
  let mtime: number | null = null
  try {
    for (;;) {
      const block = await input.exactly(BLOCK)
      if (isZero(block)) break
      const part = partOf(block)
      mtime ??= part.mtime
      if (part.mtime !== mtime) throw new BrokenArchive(`${part.path} has another time`)
      yield { ...part, body: input.upTo(part.bytes) }
      await input.skipped()
      if (isZero(await input.exactly(-part.bytes & (BLOCK - 1)))) continue
      throw new BrokenArchive(`something comes between ${part.path} and the next part`)
    }
    if (!isZero(await input.exactly(BLOCK))) throw new BrokenArchive('its end is missing')
    if (!(await input.isAtEnd())) throw new BrokenArchive('something comes after its last part')
  } finally {
    await input.close()
    archive.destroy()
  }
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

/** @throws BrokenArchive unless the header is exactly what `packed` writes for this part */
function partOf(block: Buffer): Omit<BundlePart, 'body'> & { readonly mtime: number } {
  const end = block.indexOf(0)
  const path = block.toString('latin1', 0, Math.min(end, PATH_BYTES))
  const bytes = octal(block, 124, 11)
  const mtime = octal(block, MTIME, MTIME_DIGITS)
  if (block.equals(headerOf(path, bytes, mtime))) return { path, bytes, mtime }
  throw new BrokenArchive('it has a header that no part of an export has')
}

const octal = (block: Buffer, from: number, digits: number): number =>
  Number.parseInt(block.toString('latin1', from, from + digits), 8)

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
  put(mtime, MTIME, MTIME_DIGITS)
  header.write('        0', 148, 'latin1')
  header.write('ustar\0' + '00', 257, 'latin1')
  put(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  )
  header.write('\0 ', 154, 'latin1')
  return header
}

/** Gives the bytes of chunks in other sizes. */
class Input {
  readonly #chunks: AsyncGenerator<Uint8Array>
  #held: Uint8Array = new Uint8Array()
  /** What is left of the part that is being read, bytes. */
  #left = 0

  constructor(chunks: AsyncGenerator<Uint8Array>) {
    this.#chunks = chunks
  }

  /** @throws BrokenArchive if there are fewer */
  async exactly(count: number): Promise<Buffer> {
    const pieces: Uint8Array[] = []
    for (let missing = count; missing > 0; ) {
      const piece = await this.#some(missing)
      pieces.push(piece)
      missing -= piece.length
    }
    return Buffer.concat(pieces)
  }

  /** The next bytes, as a part; `skipped` skips what is left of it. */
  async *upTo(count: number): AsyncGenerator<Uint8Array> {
    this.#left = count
    while (this.#left > 0) {
      const piece = await this.#some(this.#left)
      this.#left -= piece.length
      yield piece
    }
  }

  async skipped(): Promise<void> {
    while (this.#left > 0) this.#left -= (await this.#some(this.#left)).length
  }

  async isAtEnd(): Promise<boolean> {
    return this.#held.length === 0 && !(await this.#fill())
  }

  async close(): Promise<void> {
    await this.#chunks.return(undefined)
  }

  async #some(most: number): Promise<Uint8Array> {
    if (this.#held.length === 0 && !(await this.#fill())) throw new BrokenArchive('it ends early')
    const piece = this.#held.subarray(0, most)
    this.#held = this.#held.subarray(piece.length)
    return piece
  }

  /** @returns whether there is more */
  async #fill(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#chunks.next()
      if (done) return false
      this.#held = value
      if (value.length > 0) return true
    }
  }
}
