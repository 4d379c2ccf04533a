import { createHash } from 'node:crypto'

/** Leaves and nodes begin with different bytes, so neither can be taken for the other. */
const [LEAF, NODE] = [Uint8Array.of(0), Uint8Array.of(1)]

/** The hash of a leaf with this content. */
export const hashOfLeaf = (content: string): Buffer =>
  createHash('sha256').update(LEAF).update(content).digest()

/** The hash of a node over two others. */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer =>
  createHash('sha256').update(NODE).update(left).update(right).digest()

/** The largest power of two below `size`. */
function splitOf(size: number): number {
  let half = 1
  while (half * 2 < size) half *= 2
  return half
}

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
    let [start, end] = [0, size]
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

/** A subtree of a smaller tree, and what it has become in a larger one. */
type Pair = readonly [before: Buffer, after: Buffer]
/** Begins a path; undefined where it leads further down. `isFirst`: there is nothing to the left. */
type Begin = (
  leaf: number,
  size: number,
  path: readonly Buffer[],
  isFirst: boolean,
) => Pair | null | undefined

function climb(
  leaf: number,
  size: number,
  path: readonly Buffer[],
  isFirst: boolean,
  begin: Begin,
): Pair | null {
  const begun = begin(leaf, size, path, isFirst)
  const sibling = path.at(-1)
  if (begun !== undefined || sibling === undefined) return begun ?? null
  const [middle, rest] = [splitOf(size), path.slice(0, -1)]
  const isLeft = leaf < middle
  const below = isLeft
    ? climb(leaf, middle, rest, isFirst, begin)
    : climb(leaf - middle, size - middle, rest, false, begin)
  if (below === null) return null
  const [before, after] = below
  return isLeft
    ? [before, nodeHash(after, sibling)]
    : [nodeHash(sibling, before), nodeHash(sibling, after)]
}

/** The root of the tree of `size` leaves with this leaf at this place; null if no such path leads to a root. */
export function rootOfPath(leaf: Buffer, index: number, size: number, path: readonly Buffer[]) {
  if (index >= size) return null
  const roots = climb(index, size, path, true, (_, count, { length }) =>
    count > 1 ? undefined : length === 0 ? [leaf, leaf] : null,
  )
  return roots?.[1] ?? null
}

export type TreeRoot = { readonly size: number; readonly root: Buffer }

/** Whether the path proves that the tree `to` begins with all of `from`. */
export function isConsistent(from: TreeRoot, to: TreeRoot, path: readonly Buffer[]): boolean {
  if (from.size === 0 || from.size > to.size) return from.size === 0 && path.length === 0
  // What ends where `from` ends is in the path, unless that is all of it.
  const roots = climb(from.size - 1, to.size, path, true, (leaf, size, left, isFirst) => {
    const [hash, ...more] = isFirst ? [from.root, ...left] : left
    if (leaf + 1 < size) return undefined
    return hash === undefined || more.length > 0 ? null : [hash, hash]
  })
  return roots?.[0].equals(from.root) === true && roots[1].equals(to.root)
}
