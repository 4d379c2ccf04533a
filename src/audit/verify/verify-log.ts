import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { LedgerName, UnsignedEntries } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { artifactOfStream } from '../../log/artifact-index.ts'
import { type LoadedRun, load, RUN_STREAM_PREFIX, runIdOf } from '../../log/run-log.ts'
import type { LogPages, StreamReader } from '../../log/stream-pages.ts'
import type { RecordedEvent, StoreFailure } from '../../store/event-store.ts'
import type { KeptHeads } from '../checkpoints/run-heads.ts'
import { ledgerOf } from '../ledgers.ts'
import type { KnownKeys } from '../proofs/public-keys.ts'
import { ContentsPool } from './contents-pool.ts'
import { FamilyCheck } from './family-check.ts'
import { type Projected, ProjectedCheck } from './projected-runs.ts'
import { RedactionCheck } from './redaction-check.ts'
import type { FamilyReport, Finding, LedgerSeals, RedactionReport } from './report.ts'
import { type NamedArtifact, verifyArtifacts } from './verify-artifacts.ts'
import type { KnownRun, KnownRuns, Verified } from './verify-batch.ts'
import {
  NOTHING_VERIFIED,
  readRedaction,
  sealsOf,
  unsignedEntry,
  type VerifiedLedger,
  verifyEntry,
} from './verify-ledger.ts'
import { type SeenRecord, storedRecord, type VerifiedRun } from './verify-run.ts'

export type LogReport = {
  readonly runs: number
  /** Entries of ledgers that hold. */
  readonly ledgers: Readonly<Record<string, number>>
  /** Records that hold. */
  readonly records: number
  readonly artifacts: number
  /**
   * How many artifacts are stored that no record names, because a server was killed between the two; null if that is not
   * known: a place was not listed, or not all records hold.
   */
  readonly unnamed_artifacts: number | null
  /** The redactions of runs that hold. */
  readonly redacted: RedactionReport
  readonly family: FamilyReport
  /** How the entries of each ledger are signed. */
  readonly seals: LedgerSeals
  readonly findings: readonly Finding[]
}

type VerifyLogOptions = {
  /** Those that sign entries of ledgers. */
  readonly keys?: KnownKeys
  /** How many entries of each ledger are of an earlier version, by the checkpoints. */
  readonly unsigned?: UnsignedEntries | undefined
  /** Reads runs of the same log once more. Without it, a few ends of sub-agents are not compared. */
  readonly reader?: StreamReader
  readonly projected?: Projected | null
  /** The names of the artifacts that are stored for this log alone, beside those in the log. */
  readonly stored?: Iterable<string>
  /** Without it, one thread does everything. */
  readonly pool?: ContentsPool
}

/** Verifies all runs and ledgers of a log in one pass, each up to its first bad record. */
export function verifyLog(
  pages: LogPages,
  artifacts: ArtifactSource,
  kept: readonly KeptHeads[],
  { projected = null, pool = new ContentsPool(0), reader, ...options }: VerifyLogOptions = {},
): ResultAsync<LogReport, StoreFailure> {
  const check = new LogCheck(artifacts, kept, projected && new ProjectedCheck(projected), options)
  const verify = async (): Promise<Result<LogReport, StoreFailure>> => {
    let failure: StoreFailure | null = null
    async function* read(): AsyncGenerator<readonly RecordedEvent[]> {
      for await (const page of pages) {
        if (page.isOk()) yield* check.split(page.value)
        else failure = page.error
        if (failure !== null) return
      }
    }
    const verified = pool.verify(read(), {
      batchOf: (events) => ({ events: events.filter(isOfRun) }),
      knownOf: (events) => check.known(events),
    })
    for await (const { item, verified: found } of verified) check.take(item, found)
    if (failure !== null) return err(failure)
    if (reader !== undefined) await readWanted(check.family, reader)
    return ok(await check.finish())
  }
  return new ResultAsync(verify())
}

const isOfRun = ({ stream }: RecordedEvent): boolean => stream.startsWith(RUN_STREAM_PREFIX)

/** Folds runs once more up to the records that other runs name. A run that cannot be read is not compared. */
async function readWanted(family: FamilyCheck, reader: StreamReader): Promise<void> {
  for (const { runId, seq } of family.wanted()) {
    const run = await load(reader, runId, { to: seq })
    if (run.isOk() && run.value !== null) family.note(run.value)
  }
}

type RunCheck = { readonly run: VerifiedRun | null; readonly bad: boolean }
type LedgerCheck = { end: VerifiedLedger; bad: boolean }

/** How many events are verified together. Larger batches take longer, because they do not fit into caches. */
const BATCH_EVENTS = 64

class LogCheck {
  readonly family = new FamilyCheck(true)
  readonly #artifacts: ArtifactSource
  readonly #kept: readonly KeptHeads[]
  readonly #projected: ProjectedCheck | null
  readonly #options: Pick<VerifyLogOptions, 'keys' | 'unsigned' | 'stored'>
  readonly #runs = new Map<string, RunCheck>()
  readonly #ledgers = new Map<LedgerName, LedgerCheck>()
  /** Artifacts that records name, each with the first record that names it. */
  readonly #named = new Map<string, NamedArtifact>()
  /** Artifacts in the log. */
  readonly #inLog = new Set<string>()
  readonly #findings: Finding[] = []
  readonly #redactions = new RedactionCheck()
  #records = 0

  constructor(
    artifacts: ArtifactSource,
    kept: readonly KeptHeads[],
    projected: ProjectedCheck | null,
    options: Pick<VerifyLogOptions, 'keys' | 'unsigned' | 'stored'>,
  ) {
    this.#options = options
    this.#artifacts = artifacts
    this.#kept = kept
    this.#projected = projected
  }

  /** Splits a page, in any case after the last event that is projected: the runs are compared as of it. */
  *split(page: readonly RecordedEvent[]): Generator<readonly RecordedEvent[]> {
    let from = 0
    for (const [at, event] of page.entries()) {
      const isLast = at === page.length - 1 || this.#projected?.isLast(event) === true
      if (!isLast && at < from + BATCH_EVENTS) continue
      yield page.slice(from, at + 1)
      from = at + 1
    }
  }

  /** The runs of events that hold so far. */
  known(events: readonly RecordedEvent[]): KnownRuns {
    const known = new Map<string, KnownRun>()
    for (const { stream } of events.filter(isOfRun)) {
      const runId = runIdOf(stream)
      const { run, bad } = this.#runs.get(runId) ?? { run: null, bad: false }
      if (bad || known.has(runId)) continue
      const wanted = [...this.#kept, this.#projected].flatMap((each) => each?.seqOf(runId) ?? [])
      known.set(runId, { run, wanted })
    }
    return known
  }

  /** @param verified what was found in the records of runs among the events */
  take(events: readonly RecordedEvent[], verified: Verified): void {
    const seen = new Map(verified.seen.map((record) => [record.at, record]))
    const bad = new Map(verified.bad.map((record) => [record.at, record]))
    let at = 0
    for (const event of events) {
      if (isOfRun(event)) {
        this.#see(seen.get(at))
        this.#seeBad(bad.get(at))
        at += 1
        continue
      }
      const ledger = ledgerOf(event.stream)
      if (ledger !== null) this.#takeEntry(ledger, event)
      const artifact = artifactOfStream(event.stream)
      if (artifact !== null) this.#inLog.add(artifact)
    }
    this.#records += verified.held
    for (const run of verified.runs.values()) {
      this.family.reach(run)
      const { runId } = run.state
      this.#runs.set(runId, { bad: this.#runs.get(runId)?.bad === true, run })
    }
    for (const [name, { runId, seq }] of verified.artifacts) {
      if (!this.#named.has(name)) this.#named.set(name, { where: `run ${runId}`, seq })
    }
    const last = events.at(-1)
    if (last !== undefined) this.#projected?.reach(last, () => this.#goodRuns())
  }

  #see(record: SeenRecord | undefined): void {
    if (record === undefined) return
    const { logged, run } = record
    this.family.see(record)
    this.#redactions.see(logged)
    this.#projected?.see(run)
    for (const heads of this.#kept) heads.see(run.state.runId, logged.seq, logged.meta.hash)
  }

  #seeBad(bad: Verified['bad'][number] | undefined): void {
    if (bad === undefined) return
    const { runId, record } = bad
    this.#runs.set(runId, { run: this.#runs.get(runId)?.run ?? null, bad: true })
    this.#findings.push({ ...record, where: `run ${runId}` })
    this.family.seeBad(runId, record.seq)
  }

  #takeEntry(name: LedgerName, event: RecordedEvent): void {
    const check = this.#ledgers.get(name) ?? { end: NOTHING_VERIFIED, bad: false }
    this.#ledgers.set(name, check)
    if (check.bad) return
    const verified = verifyEntry(
      name,
      check.end,
      storedRecord(event),
      this.#options.keys ?? new Map(),
    )
    if (verified.isErr()) {
      check.bad = true
      this.#findings.push({ ...verified.error, where: `ledger ${name}` })
      return
    }
    for (const heads of this.#kept) heads.see(event.stream, check.end.length, verified.value.head)
    check.end = verified.value
    if (name !== 'redactions') return
    const redaction = readRedaction(storedRecord(event))
    if (redaction.isOk()) this.#redactions.add(redaction.value)
    else {
      const { error: message } = redaction
      const where = `ledger ${name}`
      this.#findings.push({ problem: 'unreadable', where, seq: event.revision, message })
    }
  }

  #unnamed(stored: Iterable<string>): number {
    const names = new Set([...this.#inLog, ...stored])
    return [...names].filter((name) => !this.#named.has(name)).length
  }

  *#goodRuns(): Generator<LoadedRun> {
    for (const { run, bad } of this.#runs.values()) if (run !== null && !bad) yield run
  }

  *#forgedEntries(): Generator<Finding> {
    for (const [name, { end, bad }] of this.#ledgers) {
      const found = bad ? null : unsignedEntry(end, this.#options.unsigned?.[name])
      if (found !== null) yield { ...found, where: `ledger ${name}` }
    }
  }

  async finish(): Promise<LogReport> {
    const { stored } = this.#options
    const named = await verifyArtifacts(this.#artifacts, this.#named, (name) =>
      this.#redactions.hasDeleted(name),
    )
    const lengthOf = (id: string): number => {
      const ledger = ledgerOf(id)
      if (ledger !== null) return this.#ledgers.get(ledger)?.end.length ?? 0
      return (this.#runs.get(id)?.run?.state.seq ?? -1) + 1
    }
    const missing = this.#kept.flatMap((heads) => heads.findings(lengthOf))
    const redactions = this.#redactions.findings(lengthOf).map(({ runId, ...finding }) => {
      return { ...finding, where: `run ${runId}` }
    })
    const projected = this.#projected?.findings((id) => this.#runs.get(id)?.bad === true) ?? []
    const family = this.family.judge()
    const forged = this.#forgedEntries()
    const others = [...missing, ...redactions, ...forged, ...projected, ...family.findings]
    const findings = [...this.#findings, ...named.findings, ...others]
    return {
      runs: this.#runs.size,
      records: this.#records,
      ledgers: Object.fromEntries([...this.#ledgers].map(([name, { end }]) => [name, end.length])),
      artifacts: named.held,
      unnamed_artifacts: stored === undefined || findings.length > 0 ? null : this.#unnamed(stored),
      redacted: this.#redactions.report(),
      family: family.report,
      seals: sealsOf([...this.#ledgers].map(([name, { end }]) => [name, end])),
      findings,
    }
  }
}
