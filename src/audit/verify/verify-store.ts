import { err, ok, type Result } from 'neverthrow'
import type { Checkpoint } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifact-source.ts'
import type { LogPages, StreamReader } from '../../log/stream-pages.ts'
import type { CheckpointLog } from '../checkpoints/checkpoint-stream.ts'
import { KeptHeads } from '../checkpoints/kept-heads.ts'
import type { KnownKeys } from '../proofs/public-keys.ts'
import { checkpointHash } from '../proofs/statements.ts'
import type { Projected } from './projected-runs.ts'
import type { CheckpointSigner, Finding } from './report.ts'
import {
  sealFinding,
  signersOf,
  type VerifiedCheckpoints,
  verifyCheckpoints,
} from './verify-checkpoints.ts'
import { type LogReport, verifyLog } from './verify-log.ts'

export type VerifiableStore = {
  readonly reader: StreamReader
  /** Read once, after the checkpoints. */
  pages(): LogPages
  readonly artifacts: ArtifactSource
  readonly keys: KnownKeys
  /** What a read model says of the same log, as of before; null for none. */
  readonly projected: Projected | null
}

export type StoreReport = LogReport & {
  /** The last checkpoint of the log, and the kept one if the log has it. */
  readonly compared: readonly Checkpoint[]
  readonly signers: readonly CheckpointSigner[]
}

/** Verifies all runs and ledgers of a store, what its checkpoints say of them, and what was projected of them. */
export async function verifyStore(
  { reader, pages, artifacts, keys, projected }: VerifiableStore,
  kept: Checkpoint | null = null,
): Promise<Result<StoreReport, string>> {
  const checked = await verifyCheckpoints(reader, keys, kept?.number ?? null)
  if (checked.isErr()) return err(checked.error.message)
  const { latest, wanted } = checked.value
  const sources: (CheckpointLog & { readonly name: string })[] = [
    ...(latest === null ? [] : [{ ...latest, name: 'the last checkpoint of this log' }]),
    ...(wanted === null ? [] : [{ ...wanted, name: 'the checkpoint that you kept' }]),
  ]
  const heads = sources.map((source) => new KeptHeads(source.heads, source.name))
  const verified = await verifyLog(pages(), artifacts, heads, projected)
  if (verified.isErr()) return err(verified.error.message)
  const findings = [
    ...verified.value.findings,
    ...checked.value.findings,
    ...keptFindings(kept, checked.value, (checkpoint) =>
      sealFinding(checkpoint, checked.value.keys),
    ),
  ]
  const compared = sources.flatMap(({ checkpoint }) => checkpoint ?? [])
  return ok({
    ...verified.value,
    findings,
    compared,
    signers: signersOf(checked.value.signed, keys),
  })
}

/** Whether the log still has the checkpoint that somebody has kept. */
export function keptFindings(
  kept: Checkpoint | null,
  { wanted }: Pick<VerifiedCheckpoints, 'wanted'>,
  seal: (checkpoint: Checkpoint) => Finding | null,
): Finding[] {
  if (kept === null) return []
  const where = `checkpoint ${kept.number}`
  const sealed = seal(kept)
  if (sealed !== null) return [sealed]
  if (!wanted?.checkpoint) {
    return [
      { problem: 'missing', where, seq: null, message: 'the store does not have it any more' },
    ]
  }
  if (checkpointHash(wanted.checkpoint) === checkpointHash(kept)) return []
  const message = 'the store has another one under this number'
  return [{ problem: 'changed', where, seq: null, message }]
}
