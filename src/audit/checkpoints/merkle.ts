import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { InclusionProof, RunHead } from '../../api/audit.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { CheckpointLog } from './checkpoint-stream.ts'

/** As in RFC 6962, leaves and nodes begin with different bytes, so neither can be taken for the other. */
const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)
/** After this many hashes, about a millisecond, other tasks get a turn. */
const HASHES_PER_STEP = 1000

/** The hash of a node over two others. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest()
}

/** Root of the tree over these leaf hashes. */
export async function merkleRoot(leaves: readonly Buffer[]): Promise<Buffer> {
  let root: Buffer | undefined
  for await (const level of levelsOf(leaves)) root = level[0]
  return root ?? createHash('sha256').digest()
}

/** The hashes that lead from the leaf `index` to the root, lowest first. */
async function inclusionPath(leaves: readonly Buffer[], index: number): Promise<Buffer[]> {
  const path: Buffer[] = []
  let at = index
  for await (const level of levelsOf(leaves)) {
    const sibling = level[at % 2 === 0 ? at + 1 : at - 1]
    if (sibling !== undefined) path.push(sibling)
    at = Math.floor(at / 2)
  }
  return path
}

/** The leaves, then each level above them, up to the root. A node without a right sibling is on the next level, too. */
async function* levelsOf(leaves: readonly Buffer[]): AsyncGenerator<readonly Buffer[]> {
  yield leaves
  for (let below = leaves; below.length > 1; ) {
    const level: Buffer[] = []
    for (const [at, left] of below.entries()) {
      if (at % 2 === 1) continue
      const right = below[at + 1]
      level.push(right === undefined ? left : nodeHash(left, right))
      if (level.length % HASHES_PER_STEP === 0) await nextTurn()
    }
    yield level
    below = level
  }
}

/** The leaf of a run in the tree of a checkpoint. */
export const leafOf = (head: RunHead): Buffer =>
  createHash('sha256').update(LEAF).update(canonicalText(head)).digest()

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
  const path = await inclusionPath(sorted.map(leafOf), index)
  return { checkpoint, leaf, index, path: path.map((hash) => hash.toString('hex')) }
}
