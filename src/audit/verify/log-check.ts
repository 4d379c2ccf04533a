import type { LogProof } from '../../api/audit.ts'
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
import { LOG_PROOF } from '../bundle/bundle-format.ts'
import { checkSeal } from '../public-keys.ts'
import type { BundleReading } from './bundle-reading.ts'
import type { Finding, LogReport } from './report.ts'

/** Whom a reader trusts to have seen what is verified, and how many of them must have. */
export type TrustedWitnesses = { readonly keys: readonly NoteKey[]; readonly quorum: number }

const found = (problem: Finding['problem'], message: string, where = LOG_PROOF): Finding => {
  return { problem, where, seq: null, message }
}

/** Checks where an export says that its run is in the log of checkpoints. Exports of earlier versions do not say it. */
export function checkLogProof(
  reading: BundleReading,
  trusted: TrustedWitnesses | null,
): { readonly report: LogReport | null; readonly findings: readonly Finding[] } {
  const { log } = reading
  const signed = log && readTreeNote(log.note)
  const seen_by = signed === null ? [] : cosignersOf(signed, trusted?.keys ?? [])
  const missing = missingWitnesses(trusted, seen_by)
  const unseen = missing === null ? [] : [found('unwitnessed', missing)]
  if (log === null) return { report: null, findings: unseen }
  const { checkpoint, leaf } = log
  const origin = signed?.head.origin ?? ''
  const report = { origin, checkpoint: checkpoint.number, records: leaf.length, seen_by }
  return { report, findings: [...brokenSteps(reading, log, LOG_PROOF), ...unseen] }
}

/** The steps from the record to the signature of the log that do not hold. @param where the part that has them */
export function brokenSteps(
  { keys, proof, loggedHeads, records }: BundleReading,
  log: LogProof,
  where: string,
): Finding[] {
  const signed = readTreeNote(log.note)
  if (signed === null) return [found('changed', 'its note is not one about a tree', where)]
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
    holds ? [] : [found(problem, message, where)],
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
