import { join } from 'node:path'
import { err, type Result } from 'neverthrow'
import type { Checkpoint } from '../../api/audit.ts'
import { knownKeys } from '../../audit/proofs/public-keys.ts'
import { hasAnchors, isTrusted, type TrustAnchors } from '../../audit/proofs/trust-anchors.ts'
import { verifyStore } from '../../audit/verify/verify-store.ts'
import { readProjected } from '../../projections/read-projected.ts'
import { type DataFolder, dataDirOf, openDataFolder } from '../data-folder.ts'
import type { LiveReport } from '../terminal/report-lines.ts'

/** Verifies all runs of the embedded log of a data folder, and what its checkpoints say of them. */
export async function verifyDataFolder(
  given: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const dir = dataDirOf(given)
  if (dir.isErr()) return err(dir.error)
  const folder = await openDataFolder(dir.value)
  if (folder.isErr()) return err(folder.error)
  try {
    return await verify(folder.value, join(dir.value, 'read-model.sqlite'), kept, anchors)
  } finally {
    await folder.value.log.close()
  }
}

async function verify(
  { log, artifacts, keyring }: DataFolder,
  readModel: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const own = await keyring.load()
  if (own.isErr()) return err(own.error.message)
  const keys = new Map([...knownKeys(own.value.published), ...anchors.keys])
  const projected = await readProjected(readModel)
  const store = { reader: log, pages: () => log.pages(), artifacts, keys, projected }
  const verified = await verifyStore(store, kept)
  return verified.map(({ compared, ...report }) => {
    const latest = compared[0]
    const signers = [kept, latest ?? null].flatMap((each) => each?.key ?? [])
    return {
      ...report,
      holds: report.findings.length === 0,
      trust: trustOf(anchors, signers),
      checkpoints: compared.map(({ number }) => number),
      read_model: projected === null ? null : projected.runs.size,
    }
  })
}

export function trustOf(anchors: TrustAnchors, signers: readonly string[]): LiveReport['trust'] {
  if (!hasAnchors(anchors) || signers.length === 0) return 'not_compared'
  return signers.every((key) => isTrusted(anchors, key)) ? 'trusted' : 'not_trusted'
}
