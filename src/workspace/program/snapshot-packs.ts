import type { GitObject, ObjectType } from '../../lib/git-objects.ts'
import { joinPack, packed } from '../../lib/write-pack.ts'

/** Where packs end depends on what is in them only, so that runs of the same project have the same packs. */
const MAX_PACK_BYTES = 4 * 1024 * 1024
const isLast = (id: string): boolean => Number.parseInt(id.slice(0, 2), 16) < 2

/**
 * The packs of a snapshot. A content is packed when it is read, because the file may be another one later. The packs wait outside of
 * the heap of this program until they are fetched.
 */
export class SnapshotPacks {
  /** The ids that fetched packs hold, and those that packs of the last snapshot hold. */
  readonly #kept = new Set<string>()
  readonly #made = new Set<string>()
  /** Those that were beyond the limit once. They stay that: otherwise each snapshot of a large project would pack some of them. */
  readonly #beyond = new Set<string>()
  readonly #unkept = new Map<string, number>()
  /** Null: it was fetched. */
  #packs: (Buffer | null)[] = []
  #open: Buffer[] = []
  #openBytes = 0
  /** How many bytes of new objects are kept. */
  #left: Record<ObjectType, number> = { blob: 0, tree: 0 }

  /** Of a snapshot that failed, or whose packs were not all fetched, nothing is kept. */
  begin(maxBytes: number, maxTreeBytes = maxBytes): void {
    const isFetched = this.#open.length === 0 && this.#packs.every((pack) => pack === null)
    if (isFetched) for (const id of this.#made) this.#kept.add(id)
    this.#made.clear()
    this.#unkept.clear()
    ;[this.#packs, this.#open] = [[], []]
    this.#openBytes = 0
    this.#left = { blob: maxBytes, tree: maxTreeBytes }
  }

  /** Whether the content of an object is not needed: a pack holds it, or it is beyond the limit, which is counted. */
  needsNot(id: string, type: ObjectType, bytes: number): boolean {
    if (this.#made.has(id) || this.#kept.has(id)) return true
    if (bytes <= this.#left[type] && !this.#beyond.has(id)) return false
    this.#beyond.add(id)
    this.#unkept.set(id, bytes)
    return true
  }

  /** Keeps nothing of the content itself. */
  add(object: GitObject): void {
    const { id, type, content } = object
    if (this.needsNot(id, type, content.length)) return
    this.#made.add(id)
    this.#open.push(packed(object))
    this.#openBytes += content.length
    this.#left.blob -= content.length
    this.#left.tree -= content.length
    if (isLast(id) || this.#openBytes >= MAX_PACK_BYTES) this.#close()
  }

  /** What was packed since the beginning. */
  end() {
    if (this.#open.length > 0) this.#close()
    const sizes = [...this.#unkept.values()]
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    return {
      packs: this.#packs.length,
      unkept: sizes.length === 0 ? null : { objects: sizes.length, bytes },
    }
  }

  /** Null if there is no such pack, or it was fetched. */
  fetch(number: number): Buffer | null {
    const pack = this.#packs[number] ?? null
    if (pack !== null) this.#packs[number] = null
    return pack
  }

  #close(): void {
    this.#packs.push(joinPack(this.#open))
    this.#open = []
    this.#openBytes = 0
  }
}
