import type { InclusionProof } from '../../src/api/audit.ts'
import { leafOf } from '../../src/checkpoints/merkle.ts'
import { rootOfPath } from '../../src/lib/note-check.ts'

/** Whether the path leads from the leaf to the root of the checkpoint. Does not check the signature. */
export function includes({ checkpoint, leaf, index, path }: InclusionProof): boolean {
  const hashes = path.map((hash) => Buffer.from(hash, 'hex'))
  const root = rootOfPath(leafOf(leaf), index, checkpoint.runs, hashes)
  return root?.toString('hex') === checkpoint.root
}
