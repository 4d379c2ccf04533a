import type {
  BundleReport,
  CheckpointSigner,
  Finding,
  RedactionReport,
  Trust,
} from '../../audit/verify/report.ts'
import { oneLine, timeOf } from './plain-text.ts'

/** What was found of a store, run by run. */
export type LiveReport = {
  readonly holds: boolean
  readonly trust: Trust
  readonly runs: number
  /** Records that hold. */
  readonly records: number
  /** Entries that hold, by the name of their ledger. */
  readonly ledgers: Readonly<Record<string, number>>
  readonly artifacts: number
  /** What was taken out of runs, as it should be. */
  readonly redacted: RedactionReport
  /** The checkpoints that runs were compared with, by their numbers. */
  readonly checkpoints: readonly number[]
  /** Whose keys have signed the checkpoints of the log. */
  readonly signers: readonly CheckpointSigner[]
  /** Runs of which what the read model says was compared with the log; null if it was not. */
  readonly read_model: number | null
  readonly findings: readonly Finding[]
}

/** What was found of an export, for people. */
export function bundleLines(report: BundleReport): string[] {
  const { run_id, verified, signed, complete, artifacts, findings, holds } = report
  if (run_id === null) {
    return ['This is no export of a run, or its beginning is lost.', ...findingLines(findings)]
  }
  const run = `Run ${run_id}`
  if (!holds) {
    const { first_bad_seq } = report
    const first = first_bad_seq === null ? '' : ` The first bad record is seq ${first_bad_seq}.`
    return [
      `${run} DOES NOT HOLD.${first}`,
      ...findingLines(findings),
      `${verified} of ${signed ?? 'unknown'} records hold up to there.`,
    ]
  }
  const end = complete ? 'the run is complete' : 'the run had not ended when this was signed'
  return [
    `${run} holds: ${verified} records, ${artifacts} artifacts; ${end}.`,
    ...redactionLines(report.redacted),
    `Hash of the last record: ${report.head}`,
    `Signed ${report.signed_at} by the key ${report.key}`,
    trustLine(report.trust),
  ]
}

/** What was taken out as it should be; nothing where nothing was. */
export function redactionLines({ strings, records, artifacts, redactions }: RedactionReport) {
  if (redactions.length === 0) return []
  const counts = `Redacted: ${strings} strings in ${records} records, and ${artifacts} artifacts; all of it is recorded.`
  return [
    counts,
    ...redactions.map(({ run_id, seq, pointers, ts, principal, reason }) => {
      const when = timeOf(ts)
      const what = `run ${run_id}, record ${seq}: ${pointers.join(', ')}`
      return `  ${oneLine(`${what}, ${when} by ${principal ?? 'unknown'}: ${reason}`)}`
    }),
  ]
}

export function findingLines(findings: readonly Finding[]): string[] {
  return findings.map(({ where, seq, problem, message }) => {
    const record = seq === null ? '' : `, record ${seq}`
    return `  ${where}${record}: ${problem}: ${oneLine(message)}`
  })
}

export function trustLine(trust: Trust): string {
  switch (trust) {
    case 'trusted':
      return 'That is a key that you trust.'
    case 'not_trusted':
      return 'That is NOT a key that you trust: somebody else has signed this.'
    case 'not_compared':
      return 'Whose key that is was not compared: give --fingerprint or --keys, from a source that you trust.'
  }
}
