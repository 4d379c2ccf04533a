import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { throwIfShort } from '../../lib/shortage.ts'

/** The content of a regular file that is no link; null if it is something else, or larger. */
export function contentOf(path: string, maxBytes: number): Buffer | null {
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    const descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const status = fstatSync(descriptor)
      return status.isFile() && status.size <= maxBytes ? readFileSync(descriptor) : null
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}

const MAX_BYTES = 64 * 1024 * 1024
const MAX_LINKS = 200
/** SHA-1 and SHA-256. */
const HASH_BYTES = [20, 32]
const [MODE_AT, HASH_AT] = [24, 40]
const GITLINK = 0o160000
const [EXTENDED, LENGTH] = [0x4000, 0xfff]
const MODES: ReadonlySet<number> = new Set([0o100644, 0o100755, 0o120000, 0o040000, GITLINK])

/** The repositories that an index of git names: `git status` asks git in each of them. Paths from the root of the work tree. */
export function gitlinksIn(index: string, depth = 0): readonly string[] {
  const bytes = contentOf(index, MAX_BYTES)
  if (bytes === null || bytes.length < 12 || bytes.toString('latin1', 0, 4) !== 'DIRC') return []
  for (const hashBytes of HASH_BYTES) {
    const read = readEntries(bytes, hashBytes)
    if (read === null) continue
    const { links, shared } = read
    // A split index has most entries in another file.
    const others = shared === null || depth > 0 ? [] : gitlinksIn(join(dirname(index), shared), 1)
    return [...links, ...others].slice(0, MAX_LINKS)
  }
  return []
}

/** Null if it is not an index with hashes of this length. */
function readEntries(bytes: Buffer, hashBytes: number) {
  const version = bytes.readUInt32BE(4)
  const links: string[] = []
  let [at, name] = [12, '']
  for (let left = bytes.readUInt32BE(8); left > 0; left -= 1) {
    const flagsAt = at + HASH_AT + hashBytes
    if (flagsAt + 4 > bytes.length) return null
    const mode = bytes.readUInt32BE(at + MODE_AT)
    if (!MODES.has(mode)) return null
    const flags = bytes.readUInt16BE(flagsAt)
    let start = flagsAt + ((flags & EXTENDED) === 0 ? 2 : 4)
    let kept = ''
    if (version === 4) {
      let cut = (bytes[start] ?? 0) & 0x7f
      while (((bytes[start] ?? 0) & 0x80) !== 0) {
        start += 1
        cut = ((cut + 1) << 7) | ((bytes[start] ?? 0) & 0x7f)
      }
      start += 1
      kept = name.slice(0, Math.max(0, name.length - cut))
    }
    const end = bytes.indexOf(0, start)
    const length = Math.min(kept.length + end - start, LENGTH)
    if (end < 0 || length !== (flags & LENGTH)) return null
    // Names are bytes: only here they keep their length.
    if (version === 4 || mode === GITLINK) name = kept + bytes.toString('latin1', start, end)
    if (mode === GITLINK) links.push(Buffer.from(name, 'latin1').toString())
    at = version === 4 ? end + 1 : at + (Math.floor((end - at) / 8) + 1) * 8
  }
  return { links, shared: sharedIndex(bytes, at, hashBytes) }
}

function sharedIndex(bytes: Buffer, from: number, hashBytes: number): string | null {
  for (let at = from; at + 8 + hashBytes < bytes.length; at += 8 + bytes.readUInt32BE(at + 4)) {
    if (bytes.toString('latin1', at, at + 4) !== 'link') continue
    return `sharedindex.${bytes.toString('hex', at + 8, at + 8 + hashBytes)}`
  }
  return null
}
