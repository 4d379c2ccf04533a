import { ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GitObject } from '../../lib/git-objects.ts'
import { joinPack, packed } from '../../lib/git-pack.ts'
import { messageOf } from '../../lib/message-of.ts'
import { Refusal } from './paths.ts'

/** Where packs end depends on what is in them only, so that runs of the same project have the same packs. */
const MAX_PACK_BYTES = 4 * 1024 * 1024
const isLast = (id: string): boolean => Number.parseInt(id.slice(0, 2), 16) < 2

/**
 * The packs of a snapshot. A content is packed when it is read, because the file may be another one later. The packs wait in a file
 * without a name, outside of the heap of this program, and gone with it however it ends.
 */
export class SnapshotPacks {
  /** The ids that fetched packs hold, and those that packs of the last snapshot hold. */
  readonly #kept = new Set<string>()
  readonly #made = new Set<string>()
  /** Those that were beyond the limit once. They stay that: otherwise each snapshot of a large project would pack some of them. */
  readonly #beyond = new Set<string>()
  readonly #unkept = new Map<string, number>()
  #file: number | null = null
  #packs: { readonly at: number; readonly bytes: number; isFetched: boolean }[] = []
  #open: Buffer[] = []
  #openBytes = 0
  #end = 0
  #left = 0
  #packedBytes = 0
  #onlyTrees = false

  /** Of a snapshot that failed, or whose packs were not all fetched, nothing is kept. */
  begin(maxBytes: number, onlyTrees = false): void {
    this.#onlyTrees = onlyTrees
    const isFetched = this.#open.length === 0 && this.#packs.every((one) => one.isFetched)
    if (isFetched) for (const id of this.#made) this.#kept.add(id)
    this.#made.clear()
    this.#unkept.clear()
    ;[this.#packs, this.#open] = [[], []]
    ;[this.#openBytes, this.#end, this.#packedBytes, this.#left] = [0, 0, 0, maxBytes]
    if (this.#file !== null) ftruncateSync(this.#file, 0)
  }

  /** Whether the content of an object is not needed: a pack holds it, or it is beyond the limit, which is counted. */
  needsNot(id: string, bytes: number): boolean {
    if (this.#made.has(id) || this.#kept.has(id)) return true
    if (bytes <= this.#left && !this.#beyond.has(id)) return false
    this.#beyond.add(id)
    this.#unkept.set(id, bytes)
    return true
  }

  /** Keeps nothing of the content itself. */
  add(object: GitObject): void {
    const { id, type, content } = object
    if ((this.#onlyTrees && type === 'blob') || this.needsNot(id, content.length)) return
    this.#made.add(id)
    this.#open.push(packed(object))
    this.#openBytes += content.length
    this.#packedBytes += content.length
    this.#left -= content.length
    if (isLast(id) || this.#openBytes >= MAX_PACK_BYTES) this.#close()
  }

  /** What was packed since the beginning. */
  end() {
    if (this.#open.length > 0) this.#close()
    const sizes = [...this.#unkept.values()]
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    return {
      packs: this.#packs.length,
      packed_bytes: this.#packedBytes,
      unkept: sizes.length === 0 ? null : { objects: sizes.length, bytes },
    }
  }

  /** Null if there is no such pack. */
  fetch(number: number): Buffer | null {
    const found = this.#packs[number]
    if (found === undefined || this.#file === null) return null
    const pack = Buffer.allocUnsafe(found.bytes)
    for (let at = 0; at < pack.length; ) {
      const read = readSync(this.#file, pack, at, pack.length - at, found.at + at)
      if (read === 0) return null
      at += read
    }
    found.isFetched = true
    return pack
  }

  /** Throws a Refusal, because what is wrong here is not wrong with the file that was read. */
  #close(): void {
    const pack = joinPack(this.#open)
    try {
      this.#file ??= namelessFile()
      for (let at = 0; at < pack.length; ) {
        at += writeSync(this.#file, pack, at, pack.length - at, this.#end + at)
      }
    } catch (cause) {
      throw new Refusal({ type: 'unusable', message: `no pack can be made: ${messageOf(cause)}` })
    }
    this.#packs.push({ at: this.#end, bytes: pack.length, isFetched: false })
    this.#end += pack.length
    this.#open = []
    this.#openBytes = 0
  }
}

function namelessFile(): number {
  const folder = mkdtempSync(join(tmpdir(), 'packs-'))
  try {
    return openSync(join(folder, 'packs'), 'wx+', 0o600)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
