import { setImmediate as nextTurn } from 'node:timers/promises'
import type { InclusionProof, RunHead } from '../../api/audit.ts'
import { hashOfLeaf, MerkleTree } from '../../lib/merkle-tree.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { CheckpointLog } from './checkpoint-stream.ts'

/** After this many leaves, about a millisecond, other tasks get a turn. */
const LEAVES_PER_STEP = 500

/** The tree over these leaf hashes. */
export async function treeOver(leaves: Iterable<Buffer>): Promise<MerkleTree> {
  const tree = new MerkleTree()
  for (const leaf of leaves) {
    tree.append(leaf)
    if (tree.size % LEAVES_PER_STEP === 0) await nextTurn()
  }
  return tree
}

/** Root of the tree over these leaf hashes. */
export const merkleRoot = async (leaves: Iterable<Buffer>): Promise<Buffer> =>
  (await treeOver(leaves)).root()

/** The leaf of a run in the tree of a checkpoint. */
export const leafOf = (head: RunHead): Buffer => hashOfLeaf(canonicalText(head))

/** In the order of the tree. */
export const sortedHeads = (heads: Iterable<RunHead>): RunHead[] =>
  [...heads].sort((a, b) => (a.run_id < b.run_id ? -1 : 1))

/** Null if the run is not in the checkpoint. */
export async function proveInclusion(
  { checkpoint, heads }: CheckpointLog,
  runId: string,
): Promise<InclusionProof | null> {
  const leaf = heads.get(runId)
  if (leaf === undefined) return null
  const sorted = sortedHeads(heads.values())
  const index = sorted.indexOf(leaf)
  const tree = await treeOver(sorted.map(leafOf))
  return { checkpoint, leaf, index, path: hexOf(tree.inclusion(index)) }
}

export const hexOf = (hashes: readonly Buffer[]): string[] =>
  hashes.map((hash) => hash.toString('hex'))
