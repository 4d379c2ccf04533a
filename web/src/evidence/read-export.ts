import { crc32 } from 'node:zlib'
import { type BundlePart, firstSeqOf, packOf } from '../../../src/audit/bundle/bundle-format.ts'
import { BrokenArchive, checkStart, START, tarParts } from '../../../src/audit/bundle/tar-parts.ts'
import type { BundleReport } from '../../../src/audit/verify/report.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { RunRecord } from '../../../src/domain/records.ts'
import { decodeTree, type TreeEntry } from '../../../src/lib/git-objects.ts'
import { readPack } from '../../../src/lib/git-pack.ts'
import { messageOf } from '../../../src/lib/message-of.ts'

/** A record that holds. `record` is null if this version does not know such a record. */
export type HeldRecord = {
  readonly seq: number
  readonly hash: string
  readonly principal: string | null
  readonly data: unknown
  readonly record: RunRecord | null
}

/** An export as `retrai verify` sees it, and what is in it. */
export type Evidence = {
  readonly report: BundleReport
  readonly records: readonly HeldRecord[]
  /** By their paths, without those that hold records. */
  readonly parts: ReadonlyMap<string, Buffer>
}

/** How long the page is not answered to, ms. */
const BUSY_MS = 40

export async function readExport(archive: Buffer): Promise<Evidence> {
  const records: HeldRecord[] = []
  const parts = new Map<string, Buffer>()
  let last = performance.now()
  const report = await verifyBundle(keeping(tarParts(inflated(archive)), parts), {
    onRecord: async ({ seq, meta }, { data }) => {
      const { hash, principal = null } = meta
      const record = RunRecord.safeParse(data).data ?? null
      records.push({ seq, hash, principal, data, record })
      if (performance.now() - last < BUSY_MS) return
      await new Promise((resolve) => setTimeout(resolve))
      last = performance.now()
    },
  })
  return { report, records, parts }
}

/** Bytes of the checksum and the length at the end. */
const TRAILER = 8
const PIECE = 4096

async function* inflated(archive: Buffer): AsyncGenerator<Uint8Array> {
  checkStart(archive.subarray(0, START.length))
  const end = archive.subarray(-TRAILER)
  const packed = new Uint8Array(archive.subarray(START.length, -TRAILER))
  // In small pieces, because all that comes from a damaged one is lost.
  const plain = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: (pieces) => {
      for (let at = 0; at < packed.length; at += PIECE) pieces.enqueue(packed.slice(at, at + PIECE))
      pieces.close()
    },
  })
  // A reader of gzip drops what it has read when it finds a wrong checksum.
  const reader = plain.pipeThrough(new DecompressionStream('deflate-raw')).getReader()
  let crc = 0
  let length = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      crc = crc32(value, crc)
      length += value.length
      yield value
    }
  } catch (cause) {
    throw new BrokenArchive(`it is damaged: ${messageOf(cause)}`)
  }
  const isWhole = end.readUInt32LE(0) === crc && end.readUInt32LE(4) === length % 2 ** 32
  if (!isWhole) throw new BrokenArchive('its checksum or its length is wrong')
}

/** Keeps the parts that are not records while they are read. */
async function* keeping(
  all: AsyncIterable<BundlePart>,
  parts: Map<string, Buffer>,
): AsyncGenerator<BundlePart> {
  for await (const part of all) {
    const chunks: Uint8Array[] = []
    async function* body(): AsyncGenerator<Uint8Array> {
      for await (const chunk of part.body) {
        chunks.push(chunk)
        yield chunk
      }
    }
    yield firstSeqOf(part.path) === null ? { ...part, body: body() } : part
    if (chunks.length > 0) parts.set(part.path, Buffer.concat(chunks))
  }
}

/** The trees and the contents of files that an export holds, by their ids. */
export function objectsIn(parts: Evidence['parts']) {
  const trees = new Map<string, readonly TreeEntry[]>()
  const blobs = new Map<string, Buffer>()
  for (const [path, content] of parts) {
    for (const { id, type, content: inside } of packOf(path)
      ? readPack(content).unwrapOr([])
      : []) {
      const entries = type === 'tree' ? decodeTree(inside) : null
      if (entries === null) blobs.set(id, inside)
      else trees.set(id, entries)
    }
  }
  return { trees, blobs }
}
