import { Readable } from 'node:stream'
import { constants, createGunzip, createGzip } from 'node:zlib'
import { createTarDecoder, createTarPacker } from 'modern-tar'
import type { BundlePart } from './bundle-format.ts'

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
  // What is there of an archive that ends early is looked at; the end that is missing is found below.
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })
  let failure: unknown = null
  gunzip.on('error', (error) => {
    failure = error
  })
  archive.on('error', (error) => gunzip.destroy(error))
  const entries = Readable.toWeb(archive.pipe(gunzip)).pipeThrough(
    createTarDecoder({ strict: true }),
  )
  try {
    for await (const { header, body } of entries) {
      if (header.type !== 'file') throw new BrokenArchive(`${header.name} is no file`)
      yield { path: header.name, bytes: header.size, body: whole(body) }
    }
  } catch (cause) {
    throw broken(failure ?? cause)
  } finally {
    archive.destroy()
  }
}

async function* whole(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (cause) {
    throw broken(cause)
  }
}

function broken(cause: unknown): BrokenArchive {
  if (cause instanceof BrokenArchive) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new BrokenArchive(`it ends early or is damaged: ${message}`)
}
