import type { Readable } from 'node:stream'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, PublishedKeys, RunHead } from '../../api/audit.ts'
import { RunDetails, type RunSummary } from '../../api/runs.ts'
import { linesOf } from '../../audit/bundle/lines.ts'
import { unpacked } from '../../audit/bundle/tar.ts'
import { KeptHeads } from '../../audit/checkpoints/kept-heads.ts'
import { ledgerOf } from '../../audit/ledgers.ts'
import { canonicalJson } from '../../audit/proofs/canonical.ts'
import { type KnownKeys, knownKeys } from '../../audit/proofs/public-keys.ts'
import type { TrustAnchors } from '../../audit/proofs/trust-anchors.ts'
import { READ_MODEL } from '../../audit/verify/projected-runs.ts'
import { combined, ofRun } from '../../audit/verify/redaction-check.ts'
import type { BundleReport, Finding, RedactionReport } from '../../audit/verify/report.ts'
import { verifyBundle } from '../../audit/verify/verify-bundle.ts'
import {
  countSigner,
  linkFinding,
  rootFinding,
  sealFinding,
  signersOf,
} from '../../audit/verify/verify-checkpoints.ts'
import { keptFindings } from '../../audit/verify/verify-store.ts'
import { foldLogged, type LoadedRun } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import {
  connect,
  type DownloadFailure,
  download,
  downloadJson,
  type ServerOptions,
} from '../connection.ts'
import type { LiveReport } from '../terminal/report-lines.ts'
import { trustOf } from './verify-data-folder.ts'
import { type VerifiedLedgers, verifyLedgers } from './verify-server-ledgers.ts'

/** Verifies all runs of a server, each by its export, its ledgers, and what its checkpoints say of them. */
export async function verifyServer(
  options: ServerOptions,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
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
  const check = new ServerCheck(options, anchors, checkpoints.value.heads, listed.value)
  for (const id of new Set([...listed.value.keys(), ...checkpoints.value.runIds])) {
    const done = ledgerOf(id) === null ? await check.run(id) : ok()
    if (done.isErr()) return err(done.error)
  }
  const ledgers = await verifyLedgers(options, keys, checkpoints.value.heads)
  return ledgers.map((verified) => check.report(checkpoints.value, verified, own))
}

/** The runs as the server lists them, by their ids. */
async function listedRuns(
  options: ServerOptions,
): Promise<Result<ReadonlyMap<string, RunSummary>, string>> {
  const server = connect(options)
  if (server.isErr()) return err(server.error)
  const { client, explain } = server.value
  const runs = new Map<string, RunSummary>()
  for (let cursor: string | undefined; ; ) {
    const page = await client.runs.list({ limit: 1000, cursor })
    if (page.isErr()) return err(explain(page.error))
    const before = runs.size
    for (const run of page.value.runs) runs.set(run.run_id, run)
    if (page.value.next === null) return ok(runs)
    if (runs.size === before) return err('The server lists the same runs again and again.')
    cursor = page.value.next
  }
}

type ReadCheckpoints = {
  readonly heads: readonly KeptHeads[]
  readonly runIds: ReadonlySet<string>
  readonly compared: readonly Checkpoint[]
  readonly signed: ReadonlyMap<string, number>
  readonly findings: readonly Finding[]
}

/** The chain of the server's checkpoints, and the runs of the last one and of the one that was kept. */
async function readCheckpoints(
  options: ServerOptions,
  kept: Checkpoint | null,
  keys: KnownKeys,
): Promise<Result<ReadCheckpoints, string>> {
  const findings: Finding[] = []
  const signed = new Map<string, number>()
  let latest: Checkpoint | null = null
  let wanted: Checkpoint | null = null
  for (;;) {
    const after: number = latest?.number ?? -1
    const path = `/api/checkpoints?limit=1000&after=${after}`
    const page = await downloadJson(options, path, z.array(Checkpoint))
    if (page.isErr()) return err(page.error.message)
    for (const checkpoint of page.value) {
      if (checkpoint.number <= (latest?.number ?? -1)) {
        return err(`The server sends checkpoint ${checkpoint.number} behind ${latest?.number}.`)
      }
      countSigner(signed, checkpoint)
      const found = [sealFinding(checkpoint, keys), linkFinding(latest, checkpoint)]
      findings.push(...found.filter((each) => each !== null))
      if (checkpoint.number === kept?.number) wanted = checkpoint
      latest = checkpoint
    }
    if (page.value.length === 0) break
  }
  const asWanted = wanted && { checkpoint: wanted, revision: 0, heads: new Map(), pending: [] }
  findings.push(...keptFindings(kept, { wanted: asWanted }, (each) => sealFinding(each, keys)))
  const compared = await compare(options, findings, [
    ...(latest === null ? [] : [{ checkpoint: latest, name: 'the last checkpoint of the server' }]),
    ...(kept === null ? [] : [{ checkpoint: kept, name: 'the checkpoint that you kept' }]),
  ])
  return compared.map((found) => ({ ...found, signed }))
}

async function compare(
  options: ServerOptions,
  findings: Finding[],
  sources: readonly { readonly checkpoint: Checkpoint; readonly name: string }[],
): Promise<Result<Omit<ReadCheckpoints, 'signed'>, string>> {
  const heads: KeptHeads[] = []
  const ids = new Set<string>()
  for (const { checkpoint, name } of sources) {
    const runs = await runsOf(options, checkpoint)
    if (runs.isErr() && runs.error.code === 'checkpoint_not_found') continue
    if (runs.isErr()) return err(runs.error.message)
    const wrong = rootFinding(checkpoint, runs.value.values())
    if (wrong !== null) findings.push(wrong)
    heads.push(new KeptHeads(runs.value, name))
    for (const runId of runs.value.keys()) ids.add(runId)
  }
  return ok({ heads, runIds: ids, compared: sources.map((each) => each.checkpoint), findings })
}

async function runsOf(
  options: ServerOptions,
  { number }: Checkpoint,
): Promise<Result<Map<string, RunHead>, DownloadFailure>> {
  const got = await download(options, `/api/checkpoints/${number}/runs`)
  if (got.isErr()) return err(got.error)
  const heads = new Map<string, RunHead>()
  try {
    for await (const { text } of linesOf(got.value)) {
      const head = RunHead.parse(JSON.parse(text))
      heads.set(head.run_id, head)
    }
    return ok(heads)
  } catch (cause) {
    return err({ code: null, message: `The runs of a checkpoint cannot be read: ${String(cause)}` })
  }
}

class ServerCheck {
  readonly #options: ServerOptions
  readonly #anchors: TrustAnchors
  readonly #heads: readonly KeptHeads[]
  readonly #lengths = new Map<string, number>()
  readonly #signers = new Set<string>()
  readonly #findings: Finding[] = []
  readonly #redacted: RedactionReport[] = []
  readonly #listed: ReadonlyMap<string, RunSummary>
  #artifacts = 0
  #compared = 0

  constructor(
    options: ServerOptions,
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
      const { report, folded } = await this.#verify(runId, got.value)
      this.#take(runId, report)
      return folded === null ? ok() : this.#compare(folded)
    }
    const { code, message } = got.error
    if (code === 'damaged_record') {
      this.#findings.push({ problem: 'unreadable', where: `run ${runId}`, seq: null, message })
      return ok()
    }
    // One that is gone is told of by the checkpoint that names it.
    return code === 'run_not_found' ? ok() : err(message)
  }

  /** `folded` is the run as its records say; null if they do not hold. */
  async #verify(
    runId: string,
    archive: Readable,
  ): Promise<{ readonly report: BundleReport; readonly folded: LoadedRun | null }> {
    let folded: LoadedRun | null = null
    const report = await verifyBundle(unpacked(archive), {
      anchors: this.#anchors,
      onRecord: (_line, logged) => {
        const { seq, record, meta } = logged
        for (const heads of this.#heads) heads.see(record.run_id, seq, meta.hash)
        folded = foldLogged(runId, folded, logged).unwrapOr(folded)
      },
    })
    return { report, folded: report.holds ? folded : null }
  }

  /** Compares what the server says of a run, which it reads from its read model, with the records. */
  async #compare({ state }: LoadedRun): Promise<Result<void, string>> {
    const { runId, seq } = state
    const got = await downloadJson(this.#options, `/api/runs/${runId}`, RunDetails)
    if (got.isErr() && got.error.code !== 'run_not_found') return err(got.error.message)
    const listed = this.#listed.get(runId)
    const said = got.isOk() ? got.value : null
    this.#compared += 1
    const expected = runDetails(state)
    const problems = [
      ...(said === null ? ['the server says that there is no such run'] : []),
      // A run may have gone on since it was exported; it does not go back.
      ...(said !== null && said.progress.seq < seq
        ? [`the server knows of no record after ${said.progress.seq}`]
        : []),
      ...(said?.progress.seq === seq && canonicalJson(said) !== canonicalJson(expected)
        ? ['what the server says of the run is not what its records say']
        : []),
      ...(listed === undefined && this.#listed.size > 0 && state.phase.type === 'ended'
        ? ['the server does not list it']
        : []),
      ...(listed !== undefined &&
      (listed.goal !== expected.goal || listed.created_at !== expected.created_at)
        ? ['what the list of runs says of it is not what its records say']
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
      const message = `the server sends the run ${run_id} in its place`
      this.#findings.push({ problem: 'unexpected', where, seq: null, message })
    }
    for (const finding of findings) {
      this.#findings.push({ ...finding, where: `${where}, ${finding.where}` })
    }
  }

  report(
    { compared, signed, findings: others }: ReadCheckpoints,
    ledgers: VerifiedLedgers,
    own: KnownKeys,
  ): LiveReport {
    const lengthOf = (id: string): number => {
      const ledger = ledgerOf(id)
      return (ledger === null ? this.#lengths.get(id) : ledgers.lengths[ledger]) ?? 0
    }
    const kept = this.#heads.flatMap((heads) => heads.findings(lengthOf))
    const findings = [...this.#findings, ...ledgers.findings, ...others, ...kept]
    return {
      holds: findings.length === 0,
      trust: trustOf(this.#anchors, [...this.#signers, ...compared.map(({ key }) => key)]),
      runs: this.#lengths.size,
      records: [...this.#lengths.values()].reduce((sum, length) => sum + length, 0),
      ledgers: ledgers.lengths,
      artifacts: this.#artifacts,
      redacted: combined(this.#redacted),
      read_model: this.#compared,
      checkpoints: compared.map(({ number }) => number),
      signers: signersOf(signed, own),
      findings,
    }
  }
}
