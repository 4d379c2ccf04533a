import { deflateSync } from 'node:zlib'
import type { GitObject } from './git-objects.ts'
import { checksumOf, HEADER_BYTES, TYPES } from './git-pack.ts'

/** As git writes it; it does not look at what is newer. */
const VERSION = 2

/**
 * A pack of git with these objects, whole and in this order, in the SHA-256 object format: `git index-pack
 * --object-format=sha256` reads it. The same objects give the same bytes.
 */
export const writePack = (objects: readonly GitObject[]): Buffer => joinPack(objects.map(packed))

/** What a pack holds of an object. */
export const packed = ({ type, content }: GitObject): Buffer =>
  Buffer.concat([entryHeader(TYPES[type], content.length), deflated(content)])

/** The pack of objects that were packed one by one. */
export function joinPack(objects: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write('PACK', 'latin1')
  header.writeUInt32BE(VERSION, 4)
  header.writeUInt32BE(objects.length, 8)
  const body = Buffer.concat([header, ...objects])
  return Buffer.concat([body, checksumOf(body)])
}

const SMALL_BYTES = 8192
/** For a small content, to make the usual window and buffers would take longer than all else. */
const deflated = (content: Buffer): Buffer =>
  content.length > SMALL_BYTES
    ? deflateSync(content, { level: 1 })
    : deflateSync(content, { level: 1, windowBits: 13, memLevel: 6, chunkSize: 2048 })

/** Type and size of an object: four bits of the size, then seven in each further byte. */
function entryHeader(type: number, size: number): Buffer {
  const bytes = [(type << 4) | (size & 0x0f)]
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80
    bytes.push(rest & 0x7f)
  }
  return Buffer.from(bytes)
}
