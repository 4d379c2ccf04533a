import { createHash } from 'node:crypto'

/** The hashes of RFC 6962: leaves and nodes begin with different bytes, so neither passes for the other. */
const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

export function leafHash(text: string): Buffer {
  return createHash('sha256').update(LEAF).update(text).digest()
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest()
}

/** The largest power of two below `count`: where a tree of so many leaves is split. */
const splitOf = (count: number): number => 2 ** Math.ceil(Math.log2(count) - 1)

/** Root of the tree over these leaf hashes. */
export function merkleRoot(leaves: readonly Uint8Array[]): Buffer {
  const root = (from: number, to: number): Uint8Array => {
    const [only] = leaves.slice(from, from + 1)
    if (only === undefined) return createHash('sha256').digest()
    if (to - from === 1) return only
    const middle = from + splitOf(to - from)
    return nodeHash(root(from, middle), root(middle, to))
  }
  return Buffer.from(root(0, leaves.length))
}

/** The hashes that lead from the leaf `index` to the root, lowest first. */
export function inclusionPath(leaves: readonly Uint8Array[], index: number): Buffer[] {
  if (leaves.length <= 1) return []
  const middle = splitOf(leaves.length)
  const [left, right] = [leaves.slice(0, middle), leaves.slice(middle)]
  return index < middle
    ? [...inclusionPath(left, index), merkleRoot(right)]
    : [...inclusionPath(right, index - middle), merkleRoot(left)]
}

/** The root to which a path leads from a leaf; null where the path does not fit the tree. */
export function rootOfPath(
  leaf: Uint8Array,
  {
    index,
    count,
    path,
  }: { readonly index: number; readonly count: number; readonly path: readonly Uint8Array[] },
): Buffer | null {
  if (index >= count) return null
  if (count === 1) return path.length === 0 ? Buffer.from(leaf) : null
  const sibling = path.at(-1)
  if (sibling === undefined) return null
  const middle = splitOf(count)
  const rest = path.slice(0, -1)
  if (index < middle) {
    const left = rootOfPath(leaf, { index, count: middle, path: rest })
    return left && nodeHash(left, sibling)
  }
  const right = rootOfPath(leaf, { index: index - middle, count: count - middle, path: rest })
  return right && nodeHash(sibling, right)
}
