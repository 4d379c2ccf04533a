import { isolationFacts } from '../../api/about-server.ts'
import type { Trust } from '../../checkpoints/public-keys.ts'
import { linesOf, oneLine, timeOf } from '../../domain/plain-text.ts'
import { counted } from '../../lib/text.ts'
import type { LiveReport } from './live-report.ts'
import {
  type BundleReport,
  type FamilyReport,
  type FilesReport,
  type Finding,
  isBroken,
  type RedactionReport,
  type ReportedRedaction,
  type SeenCheckpoint,
} from './report.ts'

/** The report on an export, for people. */
export function bundleLines(report: BundleReport): string[] {
  const { run_id, verified, signed, complete, artifacts, findings, holds } = report
  if (run_id === null) {
    const what = 'This is not an export of a run, or its beginning is missing.'
    return [what, ...findingLines(findings)]
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
  const hidden = 'Withheld until the run has ended: the check that its agent does not see.'
  const policy = report.signed_policy
  return linesOf(
    `${run} holds: ${counted(verified, 'record')}, ${counted(artifacts, 'artifact')}; ${end}.`,
    verdictLines(report.verdict),
    filesOfRunLines(report.files),
    report.withheld > 0 && hidden,
    redactionLines(report.redacted),
    isolationLines(report),
    familyLines(report.family),
    logLines(report.log),
    stampLines(report.stamp),
    `Hash of the last record: ${report.head}`,
    `Signed ${report.signed_at} by the key ${report.key}`,
    policy !== null && `The signature names the policy ${policy} of isolation.`,
    trustLine(report.trust),
  )
}

/** Where the run is in the log of checkpoints, and who has seen that, for people. */
function logLines(log: BundleReport['log']): string[] {
  if (log === null) return []
  const { origin, checkpoint, records, seen_by } = log
  const covered = `Checkpoint ${checkpoint} of ${origin} covers ${counted(records, 'record')}.`
  return [covered, ...seen_by.map(({ name, at }) => `  Seen by ${name} at ${at}.`)].map(oneLine)
}

/** When it was stamped, for people. The export itself cannot say whether to trust the authority. */
function stampLines(stamp: BundleReport['stamp']): string[] {
  if (stamp === null) return []
  const { name, at, checkpoint, records, fingerprint, is_trusted } = stamp
  const what = `Stamped by ${name} at ${at}: checkpoint ${checkpoint}, with ${counted(records, 'record')}.`
  const trust = is_trusted
    ? 'You trust this authority.'
    : `Its certificate has the SHA-256 ${fingerprint}, which was not compared: give --fingerprint, from a source that you trust.`
  return [what, `  ${trust}`].map(oneLine)
}

/** What the run says of its goal, for people. Whether that is true, no signature can say. */
function verdictLines(verdict: BundleReport['verdict']): string[] {
  if (verdict === null) return []
  const { as_is, original_checks, accept, dependencies, tampering } = verdict
  const changed = tampering.slice(0, MAX_LISTED).map(({ path, change }) => `${path} ${change}`)
  const parts = [
    `as it is ${as_is}`,
    original_checks && `with the files of the start ${original_checks}`,
    accept && `by the hidden check ${accept}`,
    dependencies && `packages ${dependencies}`,
    tampering.length > 0 && `${counted(tampering.length, 'protected file')}: ${changed.join(', ')}`,
  ]
  return [oneLine(`Verdict: ${parts.filter(Boolean).join('; ')}.`)]
}

/** What the export holds of the files of the run, for people. */
function filesOfRunLines(files: BundleReport['files']): string[] {
  if (files === null) return []
  const { snapshots, trees, contents, first_and_last, absent, withheld } = files
  const { masked, redacted, not_kept, not_exported } = absent
  const holds = `${counted(snapshots, 'snapshot')} of the files, recomputed from ${counted(trees, 'tree')}`
  const scope = first_and_last ? 'all files of the first and the last one' : 'files that differ'
  const reasons = [
    [not_exported, first_and_last ? 'of other snapshots' : 'exported with --files only'],
    [masked, 'withheld, because there is a secret in it'],
    [redacted, 'redacted'],
    [not_kept, 'not kept by the server'],
  ] as const
  return linesOf(
    `Files: ${holds}, and ${counted(contents, 'content')} of ${scope}.`,
    reasons.map(([count, why]) => count > 0 && `  Not here: ${count} ${why}.`),
    withheld.slice(0, MAX_LISTED).map(({ path, id }) => oneLine(`  Withheld: ${path} (${id}).`)),
  )
}

/** How the commands of the run were isolated, for people. */
function isolationLines(report: BundleReport): string[] {
  const { isolation, isolated_otherwise: count } = report
  if (isolation === null) return ['It does not say how its commands were isolated.']
  const [level = '', ...facts] = isolationFacts(isolation)
  return linesOf(
    oneLine(`Isolation: ${level}.`),
    facts.map((fact) => `  ${oneLine(fact)}`),
    count > 0 &&
      `  Isolated in another way, as recorded: ${counted(count, 'result')} of calls or checks.`,
  )
}

/** The redactions, for people. */
function redactionLines({ strings, records, artifacts, redactions }: RedactionReport) {
  if (redactions.length === 0) return []
  const places = `${counted(strings, 'string')} in ${counted(records, 'record')}`
  const counts = `Redacted: ${places}, and ${counted(artifacts, 'artifact')}, all recorded.`
  return [counts, ...redactions.map(redactionLine)]
}

/** One redaction, in a line. */
export function redactionLine(redaction: ReportedRedaction): string {
  const { run_id, seq, pointers, ts, principal, reason, key } = redaction
  const what = `run ${run_id}, record ${seq}: ${pointers.join(', ')}`
  const unsigned = key === null ? ' (unsigned, of an earlier version)' : ''
  return `  ${oneLine(`${what}, ${timeOf(ts)} by ${principal ?? 'unknown'}: ${reason}`)}${unsigned}`
}

/** The runs that were removed, for people. */
function removalLines(removed: LiveReport['removed']): string[] {
  if (removed.length === 0) return []
  const more = removed.length - MAX_LISTED
  const listed = removed
    .slice(-MAX_LISTED)
    .map(({ run_id, removed_at, rule, principal, ...of }) => {
      const file = of.archive === undefined ? '' : `, archived as ${of.archive.file}`
      return `  ${oneLine(`run ${run_id}, ${removed_at} by ${principal ?? 'unknown'}: ${rule}${file}`)}`
    })
  const counts = `Removed: ${counted(removed.length, 'run')}, all recorded.`
  return linesOf(counts, more > 0 && `  ${more} more before.`, listed)
}

/** What a reader who kept a checkpoint cannot know from it. */
function sinceLines({ redacted_since: since }: LiveReport): string[] {
  if (since === null) return []
  if (since.length === 0) return ['Nothing was redacted after the checkpoint that was kept.']
  return ['Redacted after the checkpoint that was kept:', ...since.map(redactionLine)]
}

/** The report on what several exports say about each other, for people. */
export function filesLines({ exports, family, findings, holds }: FilesReport): string[] {
  const between = findings.filter(({ problem }) => problem === 'family')
  return linesOf(
    between.length > 0 && ['These exports DO NOT FIT TOGETHER.', ...findingLines(between)],
    familyLines(family),
    holds ? `All ${exports.length} exports hold.` : 'Not all exports hold.',
  )
}

/** How many records that were not compared are listed. */
const MAX_LISTED = 10

/** What was compared about sub-agents and origins, for people. */
function familyLines({ compared, not_compared: left, origins }: FamilyReport): string[] {
  const { compared: begun = 0, redacted = 0 } = origins ?? {}
  const more = left.length - MAX_LISTED
  return linesOf(
    compared > 0 && `Compared ${counted(compared, 'sub-agent')} with what their parents recorded.`,
    origins && `Compared ${counted(begun, 'run')} with the records from which they begin.`,
    redacted > 0 && `${redacted} of them begin from records with redacted texts.`,
    left
      .slice(0, MAX_LISTED)
      .map(
        ({ run_id, seq, why }) => `NOT COMPARED: run ${run_id}, record ${seq}: ${oneLine(why)}.`,
      ),
    more > 0 && `NOT COMPARED: ${more} more records that name other runs.`,
  )
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

/** What a witness has seen, for people. */
function witnessLine({ name, at, number, newest }: SeenCheckpoint): string {
  const more = number < newest ? `, and checkpoint ${newest} extends that` : ''
  return oneLine(`The witness ${name} has seen checkpoint ${number} at ${at}${more}.`)
}

/** The report on a store, for people. */
export function liveLines(report: LiveReport): string[] {
  const { holds, runs, records, ledgers, artifacts, checkpoints, findings, trust } = report
  const { read_model, unverified } = report
  const compared =
    checkpoints.length === 0
      ? 'There is no checkpoint to compare with, so it is unknown whether runs were dropped.'
      : `Compared with checkpoint ${[...new Set(checkpoints)].join(' and ')}.`
  const beside = Object.entries(ledgers).filter(([, length]) => length > 0)
  const counts = linesOf(
    `${counted(records, 'record')} in ${counted(runs, 'run')} hold, and ${counted(artifacts, 'artifact')}.`,
    beside.map(([name, length]) => {
      const entries = length === 1 ? '1 entry' : `${length} entries`
      const { unsigned = 0 } = report.seals[name] ?? {}
      const old = unsigned === 0 ? '' : `, of which ${unsigned} unsigned, of an earlier version`
      return `${entries} of the ledger ${name} ${length === 1 ? 'holds' : 'hold'}${old}.`
    }),
    read_model !== null &&
      `Compared ${counted(read_model, 'run')} of the read model with the records.`,
    familyLines(report.family),
    holds && redactionLines(report.redacted),
    removalLines(report.removed),
    sinceLines(report),
    report.witnessed?.map(witnessLine),
    unverified && oneLine(`Not verified, because nothing signs it: ${unverified.join(', ')}.`),
  )
  if (!holds) {
    const verdict = isBroken(findings) ? 'The store DOES NOT HOLD.' : NOT_ALL_READ
    return [verdict, ...findingLines(findings), ...counts, compared]
  }
  return ['The store holds.', ...counts, compared, trustLine(trust)]
}
