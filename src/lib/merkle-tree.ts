import { createHash } from 'node:crypto'
import { nodeHash, splitOf } from './note-check.ts'

const bytesOf = (hash = ''): Buffer => Buffer.from(hash, 'latin1')

/** An append-only Merkle tree as of RFC 6962, over hashes of leaves. It can prove what it was at any smaller size. */
export class MerkleTree {
  /** By height: the hashes of all complete subtrees of 2^height leaves, as texts: small buffers take more memory. */
  readonly #levels: string[][] = []

  get size(): number {
    return this.#levels[0]?.length ?? 0
  }

  append(leaf: Buffer): void {
    let hash = leaf
    for (let height = 0; ; height += 1) {
      const level = this.#levels[height] ?? []
      this.#levels[height] = level
      const count = level.push(hash.toString('latin1'))
      if (count % 2 === 1) return
      hash = nodeHash(bytesOf(level[count - 2]), hash)
    }
  }

  root(size = this.size): Buffer {
    return size === 0 ? createHash('sha256').digest() : this.#over(0, size)
  }

  /** The hashes that lead from a leaf to the root, lowest first. */
  inclusion(index: number, size = this.size): Buffer[] {
    return this.#pathTo(index, size, (start, end) => end - start === 1).path
  }

  /** The proof that the tree of `size` leaves begins with that of `from` leaves, which are at least one. */
  consistency(from: number, size = this.size): Buffer[] {
    const { path, start } = this.#pathTo(from - 1, size, (_, end) => end === from)
    // If nothing is to the left, a verifier has this hash.
    return start === 0 ? path : [this.#over(start, from), ...path]
  }

  /** Hashes of complete subtrees of 2^height leaves, one after the other; null if there are not so many. */
  hashes(height: number, index: number, count: number): Buffer | null {
    const found = this.#levels[height]?.slice(index, index + count) ?? []
    return found.length < count ? null : bytesOf(found.join(''))
  }

  #pathTo(leaf: number, size: number, isThere: (start: number, end: number) => boolean) {
    const path: Buffer[] = []
    let start = 0
    let end = size
    while (!isThere(start, end)) {
      const middle = start + splitOf(end - start)
      const isLeft = leaf < middle
      path.unshift(isLeft ? this.#over(middle, end) : this.#over(start, middle))
      ;[start, end] = isLeft ? [start, middle] : [middle, end]
    }
    return { path, start }
  }

  #over(start: number, end: number): Buffer {
    const size = end - start
    const half = splitOf(size)
    const isComplete = size === 1 || half * 2 === size
    return isComplete
      ? bytesOf(this.#levels[Math.log2(size)]?.[start / size])
      : nodeHash(this.#over(start, start + half), this.#over(start + half, end))
  }
}

export type TreeRoot = { readonly size: number; readonly root: Buffer }

/** Whether the path proves that the tree `to` begins with all of `from`. */
export function isConsistent(from: TreeRoot, to: TreeRoot, path: readonly Buffer[]): boolean {
  if (from.size === 0 || from.size > to.size) return from.size === 0 && path.length === 0
  const roots = rootsOf(from.size, to.size, path, from.root)
  return roots?.[0].equals(from.root) === true && roots[1].equals(to.root)
}

/** The roots of both trees by a path. @param known that of the smaller one, if nothing is to the left of it */
function rootsOf(
  from: number,
  to: number,
  path: readonly Buffer[],
  known: Buffer | null,
): readonly [Buffer, Buffer] | null {
  const sibling = path.at(-1)
  const rest = path.slice(0, -1)
  if (from === to) {
    const [hash, ...more] = known === null ? path : [known, ...path]
    return hash === undefined || more.length > 0 ? null : [hash, hash]
  }
  const middle = splitOf(to)
  const isLeft = from <= middle
  const below = isLeft
    ? rootsOf(from, middle, rest, known)
    : rootsOf(from - middle, to - middle, rest, null)
  if (below === null || sibling === undefined) return null
  const [before, after] = below
  return isLeft
    ? [before, nodeHash(after, sibling)]
    : [nodeHash(sibling, before), nodeHash(sibling, after)]
}
