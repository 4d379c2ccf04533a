import { err, ok, type Result } from 'neverthrow'
import { KeptHeads } from '../audit/kept-heads.ts'
import { knownKeys } from '../audit/public-keys.ts'
import type { Finding } from '../audit/report.ts'
import { checkpointHash } from '../audit/statements.ts'
import { hasAnchors, isTrusted, type TrustAnchors } from '../audit/trust-anchors.ts'
import {
  sealFinding,
  type VerifiedCheckpoints,
  verifyCheckpoints,
} from '../audit/verify-checkpoints.ts'
import { verifyLog } from '../audit/verify-log.ts'
import type { Checkpoint } from '../audit/views.ts'
import { type DataFolder, dataDirOf, openDataFolder } from './data-folder.ts'
import type { LiveReport } from './live-report.ts'

/** Verifies all runs of the embedded log of a data folder, and what its checkpoints say of them. */
export async function verifyDataFolder(
  given: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const dir = dataDirOf(given)
  const folder = dir.isErr() ? err(dir.error) : await openDataFolder(dir.value)
  if (folder.isErr()) return err(folder.error)
  try {
    return await verify(folder.value, kept, anchors)
  } finally {
    await folder.value.log.close()
  }
}

async function verify(
  { log, artifacts, keyring }: DataFolder,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const own = await keyring.load()
  if (own.isErr()) return err(own.error.message)
  const keys = new Map([...knownKeys(own.value.published), ...anchors.keys])
  const checked = await verifyCheckpoints(log, keys, kept?.number ?? null)
  if (checked.isErr()) return err(checked.error.message)
  const { latest, wanted } = checked.value
  const sources = [
    ...(latest?.checkpoint ? [{ ...latest, name: 'the last checkpoint of this log' }] : []),
    ...(kept !== null && wanted !== null
      ? [{ ...wanted, name: 'the checkpoint that you kept' }]
      : []),
  ]
  const heads = sources.map((source) => new KeptHeads(source.heads, source.name))
  const verified = await verifyLog(log.pages(), artifacts, heads)
  if (verified.isErr()) return err(verified.error.message)
  const findings = [
    ...verified.value.findings,
    ...checked.value.findings,
    ...keptFindings(kept, checked.value, (checkpoint) => sealFinding(checkpoint, keys)),
  ]
  const signers = [kept, latest?.checkpoint ?? null].flatMap((each) => each?.key ?? [])
  return ok({
    ...verified.value,
    holds: findings.length === 0,
    trust: trustOf(anchors, signers),
    checkpoints: sources.flatMap(({ checkpoint }) => checkpoint?.number ?? []),
    findings,
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

export function trustOf(anchors: TrustAnchors, signers: readonly string[]): LiveReport['trust'] {
  if (!hasAnchors(anchors) || signers.length === 0) return 'not_compared'
  return signers.every((key) => isTrusted(anchors, key)) ? 'trusted' : 'not_trusted'
}
