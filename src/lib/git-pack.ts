import { createHash } from 'node:crypto'
import { inflateSync } from 'node:zlib'
import { err, ok, type Result } from 'neverthrow'
import { type GitObject, type ObjectType, objectId } from './git-objects.ts'

/** Numbers of the types in a pack. */
export const TYPES = { tree: 2, blob: 3 } as const satisfies Record<ObjectType, number>
export const HEADER_BYTES = 12
const CHECKSUM_BYTES = 32

export const checksumOf = (body: Buffer): Buffer => createHash('sha256').update(body).digest()

/** The objects of a pack that `writePack` wrote, in its order, or what is wrong with it. */
export function readPack(pack: Buffer): Result<GitObject[], string> {
  const end = pack.length - CHECKSUM_BYTES
  if (end < HEADER_BYTES || pack.toString('latin1', 0, 4) !== 'PACK') return err('it is no pack')
  const body = pack.subarray(0, end)
  if (!checksumOf(body).equals(pack.subarray(end))) return err('its checksum does not fit')
  const objects: GitObject[] = []
  let at = HEADER_BYTES
  for (let left = body.readUInt32BE(8); left > 0; left -= 1) {
    const next = entryAt(body, at)
    if (next === null) return err(`object ${objects.length} cannot be read`)
    objects.push(next.object)
    at = next.end
  }
  return at === end ? ok(objects) : err('it does not end after its last object')
}

function entryAt(
  body: Buffer,
  start: number,
): { readonly object: GitObject; readonly end: number } | null {
  let at = start
  let byte = body[at] ?? 0
  const type = (byte >> 4) & 0x07
  let size = byte & 0x0f
  for (let scale = 16; byte & 0x80; scale *= 128) {
    at += 1
    byte = body[at] ?? 0
    size += (byte & 0x7f) * scale
  }
  const found = (Object.keys(TYPES) as ObjectType[]).find((name) => TYPES[name] === type)
  const content = found === undefined ? null : inflated(body.subarray(at + 1), size)
  if (found === undefined || content === null) return null
  const { bytes, used } = content
  return { object: { id: objectId(found, bytes), type: found, content: bytes }, end: at + 1 + used }
}

/** The content that the bytes begin with, and how many of them it takes; null if it has another size. */
function inflated(
  bytes: Buffer,
  size: number,
): { readonly bytes: Buffer; readonly used: number } | null {
  try {
    // `info` gives the engine too, which the types do not say.
    const { buffer, engine } = inflateSync(bytes, {
      info: true,
      maxOutputLength: Math.max(size, 1),
    }) as unknown as { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } }
    return buffer.length === size ? { bytes: buffer, used: engine.bytesWritten } : null
  } catch {
    return null
  }
}
