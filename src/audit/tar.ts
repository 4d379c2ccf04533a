import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { createGzip } from 'node:zlib'
import { createTarDecoder, createTarPacker } from 'modern-tar'
import type { BundlePart } from './bundle-format.ts'
import { inflated } from './inflate.ts'

/** Parts as a .tar.gz, at constant memory. A part that fails breaks the stream off. */
export function packed(parts: AsyncIterable<BundlePart>, mtime: Date): Readable {
  const { readable, controller } = createTarPacker()
  const archive = createGzip()
  const tar = Readable.fromWeb(readable)
  tar.on('error', (error) => archive.destroy(error))
  // Whoever reads the archive may leave before its end.
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

/** The archive ends early, or is none. */
export class BrokenArchive extends Error {
  override readonly name = 'BrokenArchive'
}

/**
 * The parts of a .tar.gz, in order.
 * @throws BrokenArchive
 */
export async function* unpacked(archive: Readable): AsyncGenerator<BundlePart> {
  const damage = new Damage()
  const content = ReadableStream.from(damage.seenIn(archive))
  try {
    for await (const { header, body } of content.pipeThrough(createTarDecoder({ strict: true }))) {
      if (header.type !== 'file') throw new BrokenArchive(`${header.name} is no file`)
      yield { path: header.name, bytes: header.size, body: damage.toldBy(body) }
    }
  } catch (cause) {
    throw damage.broken(cause)
  } finally {
    archive.destroy()
  }
  if (damage.found !== null) throw damage.broken(damage.found)
}

/** What is wrong with the compressed archive says more than what comes of it, so it is told first. */
class Damage {
  found: Error | null = null

  async *seenIn(archive: Readable): AsyncGenerator<Uint8Array> {
    try {
      this.found = yield* inflated(archive)
    } catch (cause) {
      this.found = cause instanceof Error ? cause : new Error(String(cause))
    }
  }

  async *toldBy(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* body
    } catch (cause) {
      throw this.broken(cause)
    }
  }

  broken(cause: unknown): BrokenArchive {
    if (cause instanceof BrokenArchive) return cause
    const { message } = this.found ?? (cause instanceof Error ? cause : new Error(String(cause)))
    return new BrokenArchive(`it ends early or is damaged: ${message}`)
  }
}
