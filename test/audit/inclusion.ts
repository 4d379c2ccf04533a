import type { InclusionProof } from '../../src/api/audit.ts'
import { leafOf } from '../../src/checkpoints/merkle.ts'
import { nodeHash } from '../../src/lib/note-check.ts'

/** Whether the path leads from the leaf to the root of the checkpoint. Does not check the signature. */
export function includes({ checkpoint, leaf, index, path }: InclusionProof): boolean {
  const hashes = path.map((hash) => Buffer.from(hash, 'hex'))
  const root = rootOfPath(leafOf(leaf), { index, count: checkpoint.runs, path: hashes })
  return root?.toString('hex') === checkpoint.root
}

/** The root to which a path leads from a leaf; null if the path does not fit the tree. */
function rootOfPath(
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
  // As RFC 6962 defines it: the largest power of two below the number of leaves.
  const middle = 2 ** Math.ceil(Math.log2(count) - 1)
  const rest = path.slice(0, -1)
  if (index < middle) {
    const left = rootOfPath(leaf, { index, count: middle, path: rest })
    return left && nodeHash(left, sibling)
  }
  const right = rootOfPath(leaf, { index: index - middle, count: count - middle, path: rest })
  return right && nodeHash(sibling, right)
}
