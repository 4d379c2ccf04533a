import { createHash } from 'node:crypto'

/** Leaves and nodes begin with different bytes, so neither can be taken for the other. */
const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)
const HASH_BYTES = 32
const NO_LEAVES = createHash('sha256').digest()

/** The hash of a leaf with this content. */
export const hashOfLeaf = (content: string): Buffer =>
  createHash('sha256').update(LEAF).update(content).digest()

/** The hash of a node over two others. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest()
}

/** Hashes in a row, 32 bytes each. */
class Hashes {
  #bytes = Buffer.alloc(4 * HASH_BYTES)
  length = 0

  push(hash: Uint8Array): void {
    if (this.length * HASH_BYTES === this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length)])
    }
    this.#bytes.set(hash, this.length * HASH_BYTES)
    this.length += 1
  }

  at(index: number, count = 1): Buffer {
    return this.#bytes.subarray(index * HASH_BYTES, (index + count) * HASH_BYTES)
  }
}

/** The largest power of two below `size`. */
function splitOf(size: number): number {
  let half = 1
  while (half * 2 < size) half *= 2
  return half
}

const isPowerOf2 = (size: number): boolean => size === 1 || splitOf(size) * 2 === size

/** An append-only Merkle tree as of RFC 6962, over hashes of leaves. It can prove what it was at any smaller size. */
export class MerkleTree {
  /** By height: the hashes of all complete subtrees of 2^height leaves. */
  readonly #levels: Hashes[] = []

  get size(): number {
    return this.#levels[0]?.length ?? 0
  }

  append(leaf: Uint8Array): void {
    let hash = leaf
    for (let height = 0; ; height += 1) {
      const level = this.#levels[height] ?? new Hashes()
      this.#levels[height] = level
      level.push(hash)
      if (level.length % 2 === 1) return
      hash = nodeHash(level.at(level.length - 2), hash)
    }
  }

  root(size = this.size): Buffer {
    return size === 0 ? NO_LEAVES : this.#over(0, size)
  }

  /** The hashes that lead from a leaf to the root, lowest first. */
  inclusion(index: number, size = this.size): Buffer[] {
    const path: Buffer[] = []
    for (let [start, end] = [0, size]; end - start > 1; ) {
      const middle = start + splitOf(end - start)
      const isLeft = index < middle
      path.push(isLeft ? this.#over(middle, end) : this.#over(start, middle))
      ;[start, end] = isLeft ? [start, middle] : [middle, end]
    }
    return path.reverse()
  }

  /** The proof that the tree of `size` leaves begins with that of `from` leaves, which are at least one. */
  consistency(from: number, size = this.size): Buffer[] {
    const path: Buffer[] = []
    let [start, end] = [0, size]
    while (end !== from) {
      const middle = start + splitOf(end - start)
      const isLeft = from <= middle
      path.push(isLeft ? this.#over(middle, end) : this.#over(start, middle))
      ;[start, end] = isLeft ? [start, middle] : [middle, end]
    }
    // A verifier has the hash of all that was there before.
    if (start > 0) path.push(this.#over(start, end))
    return path.reverse()
  }

  /** Hashes of complete subtrees of 2^height leaves, one after the other; null if there are not so many. */
  hashes(height: number, index: number, count: number): Buffer | null {
    const level = this.#levels[height]
    return level === undefined || index + count > level.length ? null : level.at(index, count)
  }

  #over(start: number, end: number): Buffer {
    const size = end - start
    if (isPowerOf2(size)) return this.#levels[Math.log2(size)]?.at(start / size) ?? NO_LEAVES
    const middle = start + splitOf(size)
    return nodeHash(this.#over(start, middle), this.#over(middle, end))
  }
}

/** The root of the tree of `size` leaves with this leaf at this place; null if no such path leads to a root. */
export function rootOfPath(
  leaf: Buffer,
  index: number,
  size: number,
  path: readonly Buffer[],
): Buffer | null {
  const [sibling, rest] = [path.at(-1), path.slice(0, -1)]
  if (size <= 1) return index === 0 && size === 1 && sibling === undefined ? leaf : null
  const middle = splitOf(size)
  const isLeft = index < middle
  const [at, count] = isLeft ? [index, middle] : [index - middle, size - middle]
  const below = rootOfPath(leaf, at, count, rest)
  if (below === null || sibling === undefined) return null
  return isLeft ? nodeHash(below, sibling) : nodeHash(sibling, below)
}

export type TreeRoot = { readonly size: number; readonly root: Buffer }

/** Whether the path proves that the tree `to` begins with all of `from`. */
export function isConsistent(from: TreeRoot, to: TreeRoot, path: readonly Buffer[]): boolean {
  if (from.size === 0) return path.length === 0
  const roots = from.size > to.size ? null : rootsOf(from.size, to.size, path, from.root)
  return roots?.[0].equals(from.root) === true && roots[1].equals(to.root)
}

/** The roots of both trees by a path. @param known the root of the smaller one, as long as the path need not have it */
function rootsOf(
  from: number,
  to: number,
  path: readonly Buffer[],
  known: Buffer | null,
): readonly [Buffer, Buffer] | null {
  const [sibling = known, rest] = [path.at(-1), path.slice(0, -1)]
  if (sibling === null) return null
  if (from === to) return path.length === (known === null ? 1 : 0) ? [sibling, sibling] : null
  const middle = splitOf(to)
  const isLeft = from <= middle
  const below = isLeft
    ? rootsOf(from, middle, rest, known)
    : rootsOf(from - middle, to - middle, rest, null)
  if (below === null || path.length === 0) return null
  const [before, after] = below
  return isLeft
    ? [before, nodeHash(after, sibling)]
    : [nodeHash(sibling, before), nodeHash(sibling, after)]
}
