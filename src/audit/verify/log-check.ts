import type { LogProof } from '../../api/audit.ts'
import { checkSeal, type TrustAnchors } from '../../checkpoints/public-keys.ts'
import {
  checkNote,
  hashOfLeaf,
  type NoteKey,
  noteKey,
  readTreeNote,
  rootOfPath,
  type TreeNote,
} from '../../lib/note-check.ts'
import { canonicalText } from '../../log/commitment.ts'
import { LOG_PROOF, STAMP } from '../bundle/bundle-format.ts'
import type { BundleReading } from './bundle-reading.ts'
import { type Finding, finding, type LogReport, type StampReport } from './report.ts'

/** Whom a reader trusts to have seen what is verified, and how many of them must have. */
export type TrustedWitnesses = { readonly keys: readonly NoteKey[]; readonly quorum: number }

type Checked<R> = { readonly report: R | null; readonly findings: readonly Finding[] }

/** Checks where an export says that its run is in the log of checkpoints. Exports of earlier versions do not say it. */
export function checkLogProof(
  reading: BundleReading,
  trusted: TrustedWitnesses | null,
): Checked<LogReport> {
  const { log } = reading
  const signed = log && readTreeNote(log.note)
  const seen_by = signed === null ? [] : cosignersOf(signed, trusted?.keys ?? [])
  const missing = missingWitnesses(trusted, seen_by)
  const unseen = missing === null ? [] : [finding('unwitnessed', LOG_PROOF, missing)]
  if (log === null) return { report: null, findings: unseen }
  const { checkpoint, leaf } = log
  const origin = signed?.head.origin ?? ''
  const report = { origin, checkpoint: checkpoint.number, records: leaf.length, seen_by }
  return { report, findings: [...brokenSteps(reading, log, LOG_PROOF), ...unseen] }
}

/** Checks the time stamp of an export, and that it is about a log that has the run. */
export async function checkStamped(
  reading: BundleReading,
  { fingerprints: trusted }: TrustAnchors,
): Promise<Checked<StampReport>> {
  const { proof, token, authority } = reading.stamp
  const findings = proof === null ? [] : brokenSteps(reading, proof, STAMP.proof)
  const text = proof && readTreeNote(proof.note)?.note.text
  // Without one of them, the list of parts is wrong.
  if (!proof || !text || token === null || authority === null) return { report: null, findings }
  // Exports without a time stamp are verified without all that reads certificates.
  const { checkStamp } = await import('../../checkpoints/witness/stamp-token.ts')
  const checked = await checkStamp(text, token, authority)
  if (checked.isErr()) {
    const broken = finding('signature', STAMP.token, checked.error)
    return { report: null, findings: [...findings, broken] }
  }
  const { name, at, fingerprints } = checked.value
  const { checkpoint, leaf } = proof
  const isTrusted = fingerprints.some((one) => trusted.has(one))
  const authorityKey = fingerprints.at(-1) ?? ''
  const report = { name, at, checkpoint: checkpoint.number, records: leaf.length }
  return { report: { ...report, fingerprint: authorityKey, is_trusted: isTrusted }, findings }
}

/** The steps from the record to the signature of the log that do not hold. @param where the part that has them */
function brokenSteps(
  { keys, proof, loggedHeads, records }: BundleReading,
  log: LogProof,
  where: string,
): Finding[] {
  const signed = readTreeNote(log.note)
  if (signed === null) return [finding('changed', where, 'its note is not one about a tree')]
  const { checkpoint, leaf, index, inclusion, run_index, run_path } = log
  const { note, head } = signed
  const signatures = [...keys.values()].map(
    (key) => checkNote(note, noteKey(head.origin, 'ed25519', key)).type,
  )
  const isSigned = signatures.includes('good') && !signatures.includes('bad')
  const root = rootOfHex(canonicalText(checkpoint), index, head.size, inclusion)
  const runRoot = rootOfHex(canonicalText(leaf), run_index, checkpoint.runs, run_path)
  const loggedHead = loggedHeads.get(leaf.length) ?? null
  const isCut = records?.bad === null && loggedHead === null
  const steps: readonly (readonly [boolean, Finding['problem'], string])[] = [
    [isSigned, 'signature', 'its note is not signed by a key of the server'],
    [
      head.origin.startsWith(`retrai/${checkpoint.log_id}/`),
      'changed',
      'the note is of another log',
    ],
    [
      root === head.root.toString('hex'),
      'changed',
      'the checkpoint is not in the tree of the note',
    ],
    [
      checkSeal(checkpoint, keys) === 'good',
      'signature',
      'the checkpoint is not signed by its key',
    ],
    [runRoot === checkpoint.root, 'changed', 'the run is not in the checkpoint'],
    [leaf.run_id === proof?.run_id, 'changed', 'it is about another run'],
    [!isCut, 'missing', `the run had ${leaf.length} records: its end was cut off`],
    [
      [null, leaf.head].includes(loggedHead),
      'changed',
      'the records are others than those in the checkpoint',
    ],
  ]
  return steps.flatMap(([holds, problem, message]) =>
    holds ? [] : [finding(problem, where, message)],
  )
}

function rootOfHex(leaf: string, index: number, size: number, path: readonly string[]) {
  const hashes = path.map((hash) => Buffer.from(hash, 'hex'))
  return rootOfPath(hashOfLeaf(leaf), index, size, hashes)?.toString('hex')
}

/** Those that have signed a note about a tree, and when. */
export const cosignersOf = ({ note }: TreeNote, keys: readonly NoteKey[]) =>
  keys.flatMap((key) => {
    const checked = checkNote(note, key)
    const at = checked.type === 'good' ? new Date(checked.at).toISOString() : null
    return at === null ? [] : [{ name: key.name, at }]
  })

/** Names the witnesses that are missing for a quorum; null if it is reached. */
export function missingWitnesses(
  trusted: TrustedWitnesses | null,
  seen: readonly { readonly name: string }[],
): string | null {
  if (trusted === null || seen.length >= trusted.quorum) return null
  const names = new Set(seen.map(({ name }) => name))
  const missing = trusted.keys.filter(({ name }) => !names.has(name)).map(({ name }) => name)
  return `${missing.join(' and ')} did not sign this: ${seen.length} of the witnesses did, and ${trusted.quorum} are needed`
}
