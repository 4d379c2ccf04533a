import { CHECKS_AS_COMMANDS, isolationFacts } from '../../api/isolation.ts'
import {
  type BundleReport,
  type CheckpointSigner,
  type FamilyReport,
  type Finding,
  isBroken,
  type LedgerSeals,
  type RedactionReport,
  type ReportedRedaction,
  type Trust,
} from '../../audit/verify/report.ts'
import { counted } from '../../lib/counted.ts'
import { oneLine, timeOf } from './plain-text.ts'

/** The findings of the verification of a store. */
export type LiveReport = {
  readonly holds: boolean
  readonly trust: Trust
  readonly runs: number
  /** Records that hold. */
  readonly records: number
  /** Entries that hold, by the name of their ledger. */
  readonly ledgers: Readonly<Record<string, number>>
  readonly artifacts: number
  /** How many artifacts are stored that no record names; null or left out if that is not known. */
  readonly unnamed_artifacts?: number | null
  /** What is in the data folder and cannot be verified. */
  readonly unverified?: readonly string[]
  /** The redactions that are recorded and carried out. */
  readonly redacted: RedactionReport
  /** Those that come after the kept checkpoint; null without one. */
  readonly redacted_since: readonly ReportedRedaction[] | null
  /** How the entries of ledgers are signed. */
  readonly seals: LedgerSeals
  /** How runs and the runs of their sub-agents fit together. */
  readonly family: FamilyReport
  /** The numbers of the checkpoints that runs were compared with. */
  readonly checkpoints: readonly number[]
  /** The keys that signed the checkpoints of the log. */
  readonly signers: readonly CheckpointSigner[]
  /** How many runs of the read model were compared with the log; null if none were. */
  readonly read_model: number | null
  readonly findings: readonly Finding[]
}

/** The report on an export, for people. */
export function bundleLines(report: BundleReport): string[] {
  const { run_id, verified, signed, complete, artifacts, findings, holds } = report
  if (run_id === null) {
    return [
      'This is not an export of a run, or its beginning is missing.',
      ...findingLines(findings),
    ]
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
  const end = complete
    ? 'the run is complete'
    : 'the run had not ended at the time of the signature'
  return [
    `${run} holds: ${counted(verified, 'record')}, ${counted(artifacts, 'artifact')}; ${end}.`,
    ...redactionLines(report.redacted),
    ...isolationLines(report),
    ...familyLines(report.family),
    `Hash of the last record: ${report.head}`,
    `Signed ${report.signed_at} by the key ${report.key}`,
    ...(report.signed_policy === null
      ? []
      : [`The signature names the policy ${report.signed_policy} of isolation.`]),
    trustLine(report.trust),
  ]
}

/** How the commands of the run were isolated, for people. */
function isolationLines(report: BundleReport): string[] {
  const { isolation, isolated_checks, isolated_otherwise: count } = report
  if (isolation === null) return ['It does not say how its commands were isolated.']
  const [level = '', ...facts] = isolationFacts(isolation)
  return [
    oneLine(`Isolation: ${level}.`),
    ...facts.map((fact) => `  ${oneLine(fact)}`),
    ...(isolated_checks === 0 ? [] : [`  ${CHECKS_AS_COMMANDS}`]),
    ...(count === 0
      ? []
      : [
          `  Isolated in another way, as recorded: ${counted(count, 'result')} of calls or checks.`,
        ]),
  ]
}

/** The redactions, for people; empty if there are none. */
function redactionLines({ strings, records, artifacts, redactions }: RedactionReport) {
  if (redactions.length === 0) return []
  const places = `${counted(strings, 'string')} in ${counted(records, 'record')}`
  const counts = `Redacted: ${places}, and ${counted(artifacts, 'artifact')}, all recorded.`
  return [counts, ...redactions.map(redactionLine)]
}

function redactionLine(redaction: ReportedRedaction): string {
  const { run_id, seq, pointers, ts, principal, reason, key } = redaction
  const what = `run ${run_id}, record ${seq}: ${pointers.join(', ')}`
  const unsigned = key === null ? ' (unsigned, of an earlier version)' : ''
  return `  ${oneLine(`${what}, ${timeOf(ts)} by ${principal ?? 'unknown'}: ${reason}`)}${unsigned}`
}

/** What a reader who kept a checkpoint cannot know from it. */
function sinceLines({ redacted_since: since }: LiveReport): string[] {
  if (since === null) return []
  if (since.length === 0) return ['Nothing was redacted after the checkpoint that you kept.']
  return ['Redacted after the checkpoint that you kept:', ...since.map(redactionLine)]
}

/** The report on what several exports say about each other, for people. */
export function filesLines({
  exports,
  family,
  findings,
  holds,
}: {
  readonly exports: readonly BundleReport[]
  readonly family: FamilyReport
  readonly findings: readonly Finding[]
  readonly holds: boolean
}): string[] {
  const between = findings.filter(({ problem }) => problem === 'family')
  return [
    ...(between.length === 0
      ? []
      : ['These exports DO NOT FIT TOGETHER.', ...findingLines(between)]),
    ...familyLines(family),
    holds ? `All ${exports.length} exports hold.` : 'Not all exports hold.',
  ]
}

/** How many records that were not compared are listed. */
const MAX_LISTED = 10

/** What was compared about sub-agents, for people; empty if there are none. */
function familyLines({ compared, not_compared: left }: FamilyReport): string[] {
  const more = left.length - MAX_LISTED
  return [
    ...(compared === 0
      ? []
      : [`Compared ${counted(compared, 'sub-agent')} with what their parents recorded.`]),
    ...left
      .slice(0, MAX_LISTED)
      .map(
        ({ run_id, seq, why }) => `NOT COMPARED: run ${run_id}, record ${seq}: ${oneLine(why)}.`,
      ),
    ...(more > 0 ? [`NOT COMPARED: ${more} more records that name other runs.`] : []),
  ]
}

function findingLines(findings: readonly Finding[]): string[] {
  return findings.map(({ where, seq, problem, message }) => {
    const record = seq === null ? '' : `, record ${seq}`
    return `  ${where}${record}: ${problem}: ${oneLine(message)}`
  })
}

function trustLine(trust: Trust): string {
  switch (trust) {
    case 'trusted':
      return 'You trust this key.'
    case 'not_trusted':
      return 'You do NOT trust this key: somebody else signed this.'
    case 'not_compared':
      return 'The key was not compared with keys that you trust: give --fingerprint or --keys, from a source that you trust.'
  }
}

const NOT_ALL_READ =
  'Nothing is wrong in what was read, but NOT EVERYTHING COULD BE READ. Verify it again when the artifacts can be reached.'

function unnamedLines({ unnamed_artifacts: count }: LiveReport): string[] {
  if (!count) return []
  const why =
    'a server was killed after it had stored them and before it recorded them, or is about to record them'
  return [`No record names ${counted(count, 'stored artifact')}: ${why}.`]
}

/** The report on a store, for people. */
export function liveLines(report: LiveReport): string[] {
  const { holds, runs, records, ledgers, artifacts, checkpoints, findings, trust } = report
  const { read_model, signers } = report
  const compared =
    checkpoints.length === 0
      ? 'There is no checkpoint to compare with, so it is unknown whether runs were dropped.'
      : `Compared with checkpoint ${[...new Set(checkpoints)].join(' and ')}.`
  const beside = Object.entries(ledgers).filter(([, length]) => length > 0)
  const counts = [
    `${counted(records, 'record')} in ${counted(runs, 'run')} hold, and ${counted(artifacts, 'artifact')}.`,
    ...beside.map(([name, length]) => {
      const entries = length === 1 ? '1 entry' : `${length} entries`
      const { unsigned = 0 } = report.seals[name] ?? {}
      const old = unsigned === 0 ? '' : `, of which ${unsigned} unsigned, of an earlier version`
      return `${entries} of the ledger ${name} ${length === 1 ? 'holds' : 'hold'}${old}.`
    }),
    ...(read_model === null
      ? []
      : [`Compared ${counted(read_model, 'run')} of the read model with the records.`]),
    ...familyLines(report.family),
    ...signers
      .filter(({ own }) => !own)
      .map(
        ({ key, checkpoints: count }) =>
          `The key ${key} of another server has signed ${counted(count, 'checkpoint')}.`,
      ),
    ...(holds ? redactionLines(report.redacted) : []),
    ...sinceLines(report),
    ...unnamedLines(report),
    ...(report.unverified === undefined
      ? []
      : [oneLine(`Not verified, because nothing signs it: ${report.unverified.join(', ')}.`)]),
  ]
  if (!holds) {
    const verdict = isBroken(findings) ? 'The store DOES NOT HOLD.' : NOT_ALL_READ
    return [verdict, ...findingLines(findings), ...counts, compared]
  }
  return ['The store holds.', ...counts, compared, trustLine(trust)]
}
