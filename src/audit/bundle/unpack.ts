import { createReadStream } from 'node:fs'
import { access, constants as fs, stat } from 'node:fs/promises'
import { pipeline, type Readable } from 'node:stream'
import { crc32, createInflateRaw, constants as zlib } from 'node:zlib'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'
import type { BundlePart } from './bundle-format.ts'
import { archiveIn } from './evidence-file.ts'
import { BrokenArchive, type BundleFile, checkStart, START, tarParts } from './tar-parts.ts'

/**
 * The error is a sentence for people.
 * @param seen gets how many bytes of the file are read, and how many there are
 */
export async function bundleFile(
  path: string,
  seen: (bytes: number, all: number) => void = () => {},
): Promise<Result<BundleFile, string>> {
  try {
    await access(path, fs.R_OK)
    const found = await stat(path)
    if (found.isDirectory()) throw new Error('it is a folder, and an export is a file')
    return ok(() => {
      const file = createReadStream(path)
      file.on('data', () => seen(file.bytesRead, found.size))
      file.pause()
      return unpacked(file)
    })
  } catch (cause) {
    return err(`${path} cannot be read: ${messageOf(cause)}.`)
  }
}

/**
 * The parts of a .tar.gz, or of a page with one in it, in order.
 * @throws BrokenArchive
 */
export async function* unpacked(archive: Readable): AsyncGenerator<BundlePart> {
  try {
    yield* tarParts(inflated(archiveIn(archive)))
  } finally {
    archive.destroy()
  }
}

/** Bytes of output that are made at once, in another thread. */
const CHUNK = 64 * 1024
/** Bytes of the checksum and the length at the end. */
const TRAILER = 8

/**
 * Inflates a gzip file of exactly one member.
 * @throws BrokenArchive after everything before the damage has been yielded, except for the last kilobytes
 */
async function* inflated(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // zlib's reader of gzip drops what it has read when it finds a wrong checksum, and reads further members.
  // If the archive ends early, everything that is there is inflated.
  const inflate = createInflateRaw({ chunkSize: CHUNK, finishFlush: zlib.Z_SYNC_FLUSH })
  const source = new Source()
  pipeline(source.of(archive), inflate, () => {})
  let crc = 0
  let length = 0
  try {
    for await (const chunk of inflate) {
      crc = crc32(chunk, crc)
      length += chunk.length
      yield chunk
    }
  } catch (cause) {
    if (cause instanceof BrokenArchive) throw cause
    throw new BrokenArchive(`it is damaged: ${messageOf(cause)}`)
  }
  const { failure, end, bytes } = source
  if (failure !== null) throw failure
  const isWhole =
    bytes === START.length + inflate.bytesWritten + TRAILER &&
    end.readUInt32LE(4) === length % 2 ** 32
  if (!isWhole) throw new BrokenArchive('it ends early, or bytes come after its end')
  if (end.readUInt32LE(0) !== crc) throw new BrokenArchive('its checksum is wrong')
}

/** The bytes of an archive without its first ones, and what is at both ends of it. */
class Source {
  bytes = 0
  /** The last bytes. */
  end = Buffer.alloc(0)
  /** Why the rest cannot be read; null if all was read. */
  failure: BrokenArchive | null = null

  /** @throws BrokenArchive unless the archive begins as that of an export */
  async *of(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let start = Buffer.alloc(0)
    try {
      for await (const chunk of archive) {
        const left = START.length - start.length
        if (left > 0) {
          start = Buffer.concat([start, chunk.subarray(0, left)])
          if (start.length === START.length) checkStart(start)
        }
        this.bytes += chunk.length
        this.end = Buffer.concat([this.end, chunk.subarray(-TRAILER)]).subarray(-TRAILER)
        yield chunk.subarray(Math.max(left, 0))
      }
    } catch (cause) {
      if (cause instanceof BrokenArchive) throw cause
      // Thrown at once, it would take with it what is not yielded yet.
      this.failure = new BrokenArchive(`the rest cannot be read: ${messageOf(cause)}`)
    }
  }
}
