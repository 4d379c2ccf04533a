import type { InclusionProof } from '../../api/audit.ts'
import type { CheckpointLog } from './checkpoint-stream.ts'
import { inclusionPath, rootOfPath } from './merkle.ts'
import { leafOf, sortedHeads } from './run-heads.ts'

/** Null where the run is not in the checkpoint, or there is none. */
export function proveInclusion(
  { checkpoint, heads }: CheckpointLog,
  runId: string,
): InclusionProof | null {
  const leaf = heads.get(runId)
  if (checkpoint === null || leaf === undefined) return null
  const sorted = sortedHeads(heads.values())
  const index = sorted.indexOf(leaf)
  const path = inclusionPath(sorted.map(leafOf), index).map((hash) => hash.toString('hex'))
  return { checkpoint, leaf, index, path }
}

/** Whether the path leads from the leaf to the root of the checkpoint. Its signature is not looked at. */
export function includes({ checkpoint, leaf, index, path }: InclusionProof): boolean {
  const hashes = path.map((hash) => Buffer.from(hash, 'hex'))
  const root = rootOfPath(leafOf(leaf), { index, count: checkpoint.runs, path: hashes })
  return root?.toString('hex') === checkpoint.root
}
