import { setImmediate as nextTurn } from 'node:timers/promises'
import type { InclusionProof, RunHead } from '../api/audit.ts'
import { MerkleTree } from '../lib/merkle-tree.ts'
import { hashOfLeaf } from '../lib/note-check.ts'
import { canonicalText } from '../log/commitment.ts'
import type { CheckpointLog } from './checkpoint-stream.ts'

/** After this many leaves, about a millisecond, other tasks get a turn. */
const LEAVES_PER_STEP = 500

/** The tree over these leaf hashes. */
async function treeOver(leaves: Iterable<Buffer>): Promise<MerkleTree> {
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

type Sorted = { readonly heads: readonly RunHead[]; readonly tree: MerkleTree }
/** The trees over runs that somebody still holds: whoever asks for one proof asks for more. */
const sorted = new WeakMap<CheckpointLog['heads'], Promise<Sorted>>()

function sortedOnce(heads: CheckpointLog['heads']): Promise<Sorted> {
  const known = sorted.get(heads)
  if (known !== undefined) return known
  const inOrder = sortedHeads(heads.values())
  const made = treeOver(inOrder.map(leafOf)).then((tree) => ({ heads: inOrder, tree }))
  sorted.set(heads, made)
  return made
}

/** Null if the run is not in the checkpoint. Its runs must not change after that. */
export async function proveInclusion(
  { checkpoint, heads: all }: CheckpointLog,
  runId: string,
): Promise<InclusionProof | null> {
  const leaf = all.get(runId)
  if (leaf === undefined) return null
  const { heads, tree } = await sortedOnce(all)
  const index = heads.indexOf(leaf)
  return { checkpoint, leaf, index, path: hexOf(tree.inclusion(index)) }
}

export const hexOf = (hashes: readonly Buffer[]): string[] =>
  hashes.map((hash) => hash.toString('hex'))
