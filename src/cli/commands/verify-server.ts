import type { Readable } from 'node:stream'
import { err, ok, type Result } from 'neverthrow'
import { type Checkpoint, PublishedKeys } from '../../api/audit.ts'
import { RunDetails, type RunSummary } from '../../api/runs.ts'
import { unpacked } from '../../audit/bundle/tar.ts'
import type { KeptHeads } from '../../audit/checkpoints/run-heads.ts'
import { ledgerOf } from '../../audit/ledgers.ts'
import { type KnownKeys, knownKeys, type TrustAnchors } from '../../audit/proofs/public-keys.ts'
import { ContentsPool } from '../../audit/verify/contents-pool.ts'
import { FamilyCheck } from '../../audit/verify/family-check.ts'
import { READ_MODEL } from '../../audit/verify/projected-runs.ts'
import { combined, ofRun, redactedSince } from '../../audit/verify/redaction-check.ts'
import type { BundleReport, Finding, RedactionReport } from '../../audit/verify/report.ts'
import { verifyBundle } from '../../audit/verify/verify-bundle.ts'
import { signersOf } from '../../audit/verify/verify-checkpoints.ts'
import { messageOf } from '../../lib/message-of.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import { download, downloadJson, type ServerOptions } from '../connection.ts'
import type { LiveReport } from '../terminal/report-lines.ts'
import { trustOf } from './anchors.ts'
import {
  listedRuns,
  type ReadCheckpoints,
  readCheckpoints,
  type VerifiedLedgers,
  verifyLedgers,
} from './verify-server-chains.ts'

/** Verifies all runs of a server by their exports, its ledgers, and its checkpoints. */
export async function verifyServer(
  given: ServerOptions,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const options = { ...given, isVerifying: true }
  const published = await downloadJson(options, '/api/keys', PublishedKeys)
  if (published.isErr()) return err(published.error.message)
  const inLog = await downloadJson(options, '/api/keys?all=true', PublishedKeys)
  if (inLog.isErr()) return err(inLog.error.message)
  const own = knownKeys(published.value)
  const keys = new Map([...knownKeys(inLog.value), ...own, ...anchors.keys])
  const checkpoints = await readCheckpoints(options, kept, keys)
  if (checkpoints.isErr()) return err(checkpoints.error)
  const listed = await listedRuns(options)
  if (listed.isErr()) return err(listed.error)
  using pool = new ContentsPool()
  const check = new ServerCheck(
    { ...options, pool },
    anchors,
    checkpoints.value.heads,
    listed.value,
  )
  for (const id of new Set([...listed.value.keys(), ...checkpoints.value.runIds])) {
    const done = ledgerOf(id) === null ? await check.run(id) : ok()
    if (done.isErr()) return err(done.error)
  }
  const families = await check.families()
  if (families.isErr()) return err(families.error)
  const ledgers = await verifyLedgers(options, keys, checkpoints.value)
  return ledgers.map((verified) => check.report(checkpoints.value, verified, own))
}

/** A server breaks an export off if it cannot read the rest of it. That is not a finding about the run. */
const brokenOff = (runId: string, cause: Error): string =>
  `The export of run ${runId} broke off: ${messageOf(cause)}. The log of the server says why. Verify it again later.`

type CheckOptions = ServerOptions & { readonly pool: ContentsPool }

/** What only the records of the run itself say. */
function withoutOthers(run: RunDetails): RunDetails {
  const { subagent: _, ...progress } = run.progress
  return { ...run, progress }
}

class ServerCheck {
  readonly #options: CheckOptions
  readonly #anchors: TrustAnchors
  readonly #heads: readonly KeptHeads[]
  readonly #lengths = new Map<string, number>()
  readonly #signers = new Set<string>()
  readonly #findings: Finding[] = []
  readonly #redacted: RedactionReport[] = []
  readonly #listed: ReadonlyMap<string, RunSummary>
  readonly #family = new FamilyCheck(true)
  #artifacts = 0
  #compared = 0

  constructor(
    options: CheckOptions,
    anchors: TrustAnchors,
    heads: readonly KeptHeads[],
    listed: ReadonlyMap<string, RunSummary>,
  ) {
    this.#listed = listed
    this.#options = options
    this.#anchors = anchors
    this.#heads = heads
  }

  async run(runId: string): Promise<Result<void, string>> {
    const got = await download(this.#options, `/api/runs/${runId}/export`)
    if (got.isOk()) {
      const archive = got.value
      const { report, folded } = await this.#verify(archive)
      if (archive.errored !== null) return err(brokenOff(runId, archive.errored))
      this.#take(runId, report)
      return folded === null ? ok() : this.#compare(folded)
    }
    const { code, message } = got.error
    if (code === 'damaged_record') {
      this.#findings.push({ problem: 'unreadable', where: `run ${runId}`, seq: null, message })
      return ok()
    }
    // If a run is gone, the checkpoint that names it reports that.
    return code === 'run_not_found' ? ok() : err(message)
  }

  /** Reads runs that other runs name and that were not listed or read yet: they may have begun or continued since. */
  async families(): Promise<Result<void, string>> {
    for (const runId of this.#family.unseen()) {
      const done = await this.run(runId)
      if (done.isErr()) return done
    }
    for (const { runId, seq } of this.#family.wanted()) {
      const got = await download(this.#options, `/api/runs/${runId}/export`)
      if (got.isErr()) return err(got.error.message)
      await verifyBundle(unpacked(got.value), {
        anchors: this.#anchors,
        pool: this.#options.pool,
        family: new FamilyCheck(true),
        wanted: () => [seq],
        onRecord: ({ logged, run }) => {
          if (logged.seq === seq) this.#family.note(run)
        },
      })
    }
    return ok()
  }

  /** `folded` is the state that the records give; null if they do not hold. */
  async #verify(
    archive: Readable,
  ): Promise<{ readonly report: BundleReport; readonly folded: LoadedRun | null }> {
    let folded: LoadedRun | null = null
    const report = await verifyBundle(unpacked(archive), {
      anchors: this.#anchors,
      pool: this.#options.pool,
      family: this.#family,
      wanted: (runId) => this.#heads.flatMap((heads) => heads.seqOf(runId) ?? []),
      onRecord: ({ logged: { seq, record, meta } }) => {
        for (const heads of this.#heads) heads.see(record.run_id, seq, meta.hash)
      },
      onRun: (run) => {
        folded = run
      },
    })
    return { report, folded: report.holds ? folded : null }
  }

  /** Compares the answers of the server about a run, which come from its read model, with the records. */
  async #compare({ state }: LoadedRun): Promise<Result<void, string>> {
    const { runId, seq } = state
    const got = await downloadJson(this.#options, `/api/runs/${runId}`, RunDetails)
    if (got.isErr() && got.error.code !== 'run_not_found') return err(got.error.message)
    const listed = this.#listed.get(runId)
    const answered = got.isOk() ? withoutOthers(got.value) : null
    this.#compared += 1
    const expected = runDetails(state)
    const problems = [
      ...(answered === null ? ['the server answers that there is no such run'] : []),
      // A run may have continued since the export, but it cannot go back.
      ...(answered !== null && answered.progress.seq < seq
        ? [`the server knows of no record after ${answered.progress.seq}`]
        : []),
      ...(answered?.progress.seq === seq && canonicalText(answered) !== canonicalText(expected)
        ? ['the answer of the server does not match the records']
        : []),
      ...(listed === undefined && this.#listed.size > 0 && state.phase.type === 'ended'
        ? ['the server does not list it']
        : []),
      ...(listed !== undefined &&
      (listed.goal !== expected.goal || listed.created_at !== expected.created_at)
        ? ['the list of runs does not match the records']
        : []),
    ]
    for (const problem of problems) {
      const message = `run ${runId}: ${problem}`
      this.#findings.push({ problem: 'changed', where: READ_MODEL, seq: null, message })
    }
    return ok()
  }

  #take(runId: string, report: BundleReport): void {
    const { verified, artifacts, key, run_id, findings } = report
    this.#redacted.push(ofRun(runId, report.redacted))
    const where = `run ${runId}`
    this.#lengths.set(runId, verified)
    this.#artifacts += artifacts
    if (key !== null) this.#signers.add(key)
    if (run_id !== null && run_id !== runId) {
      const message = `the server sends the run ${run_id} instead`
      this.#findings.push({ problem: 'unexpected', where, seq: null, message })
    }
    for (const finding of findings) {
      this.#findings.push({ ...finding, where: `${where}, ${finding.where}` })
    }
  }

  report(
    { compared, kept: keptHeads, signed, findings: others }: ReadCheckpoints,
    ledgers: VerifiedLedgers,
    own: KnownKeys,
  ): LiveReport {
    const lengthOf = (id: string): number => {
      const ledger = ledgerOf(id)
      return (ledger === null ? this.#lengths.get(id) : ledgers.lengths[ledger]) ?? 0
    }
    const kept = this.#heads.flatMap((heads) => heads.findings(lengthOf))
    const family = this.#family.judge()
    const redacted = combined(this.#redacted)
    const findings = [
      ...this.#findings,
      ...ledgers.findings,
      ...others,
      ...kept,
      ...family.findings,
    ]
    return {
      holds: findings.length === 0,
      trust: trustOf(this.#anchors, [
        ...[...this.#signers, ...compared.map(({ key }) => key)],
        ...Object.values(ledgers.seals).flatMap(({ keys }) => keys),
      ]),
      seals: ledgers.seals,
      redacted_since: redactedSince(keptHeads, redacted),
      runs: this.#lengths.size,
      records: [...this.#lengths.values()].reduce((sum, length) => sum + length, 0),
      ledgers: ledgers.lengths,
      artifacts: this.#artifacts,
      redacted,
      family: family.report,
      read_model: this.#compared,
      checkpoints: compared.map(({ number }) => number),
      signers: signersOf(signed, own),
      findings,
    }
  }
}
