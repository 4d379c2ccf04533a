import { readTreeNote } from '../../lib/note-check.ts'
import { STAMP } from '../bundle/bundle-format.ts'
import type { TrustAnchors } from '../public-keys.ts'
import type { BundleReading } from './bundle-reading.ts'
import { brokenSteps } from './log-check.ts'
import type { Finding, StampReport } from './report.ts'

type Checked = { readonly report: StampReport | null; readonly findings: readonly Finding[] }

/** Checks the time stamp of an export, and that it is about a log that has the run. */
export async function checkStamped(
  reading: BundleReading,
  { fingerprints: trusted }: TrustAnchors,
): Promise<Checked> {
  const { proof, token, authority } = reading.stamp
  const findings = proof === null ? [] : brokenSteps(reading, proof, STAMP.proof)
  const text = proof && readTreeNote(proof.note)?.note.text
  // Without one of them, the list of parts is wrong.
  if (!proof || !text || token === null || authority === null) return { report: null, findings }
  // Exports without a time stamp are verified without all that reads certificates.
  const { checkStamp } = await import('./stamp-token.ts')
  const checked = await checkStamp(text, token, authority)
  if (checked.isErr()) {
    const { error: message } = checked
    const broken: Finding = { problem: 'signature', where: STAMP.token, seq: null, message }
    return { report: null, findings: [...findings, broken] }
  }
  const { name, at, fingerprints } = checked.value
  const { checkpoint, leaf } = proof
  const isTrusted = fingerprints.some((one) => trusted.has(one))
  const authorityKey = fingerprints.at(-1) ?? ''
  const report = { name, at, checkpoint: checkpoint.number, records: leaf.length }
  return { report: { ...report, fingerprint: authorityKey, is_trusted: isTrusted }, findings }
}
