import { err, ok, type Result } from 'neverthrow'
import type { Checkpoint } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { allArtifactsOf } from '../../domain/named-artifacts.ts'
import type { Logged } from '../../log/chain.ts'
import { type LoadedRun, RUN_STREAM_PREFIX, runIdOf, streamOf } from '../../log/run-log.ts'
import { eventAt, type LogPages, type StreamReader } from '../../log/stream-pages.ts'
import type { Redaction } from '../../redaction/redaction.ts'
import { retentionIndexOf } from '../../retention/ledger.ts'
import type { RecordedEvent, StoreFailure } from '../../store/event-store.ts'
import type { BundlePart } from '../bundle/bundle-format.ts'
import type { KeptCheckpoint } from '../checkpoints/kept-checkpoints.ts'
import { ledgerOf } from '../ledgers.ts'
import { type KnownKeys, NO_ANCHORS } from '../public-keys.ts'
import { foldStored, storedRecord } from '../stored-events.ts'
import {
  type NamedArtifact,
  type Projected,
  ProjectedCheck,
  verifyArtifacts,
} from './beside-log.ts'
import { LiveCheck, type LiveReport } from './live-report.ts'
import { readRedaction } from './redaction-check.ts'
import type { BundleReport } from './report.ts'
import { type VerifyOptions, verifyBundle } from './verify-bundle.ts'
import { lostFinding, type VerifiedCheckpoints, verifyCheckpoints } from './verify-checkpoints.ts'
import { type BadRecord, type VerifiedRun, verifyRecord } from './verify-run.ts'

export type VerifiableStore = {
  readonly reader: StreamReader
  /** Read once, after the checkpoints. */
  pages(): LogPages
  readonly artifacts: ArtifactSource
  readonly keys: KnownKeys
  /** What a read model held of the same log before it was read; null without a read model. */
  readonly projected: Projected | null
  /** The checkpoints in files beside the log. */
  readonly beside?: readonly KeptCheckpoint[]
  /** What is in the file of the log and is not of a server, as sentences without their points. */
  readonly foreign?: readonly string[]
}

/** Where a finding is that is about the file of the log. */
const LOG_FILE = 'log.sqlite'

/**
 * Verifies all runs and ledgers of a store in one pass, each up to its first bad record, and compares them with its
 * checkpoints and its read model.
 */
export async function verifyStore(
  store: VerifiableStore,
  kept: Checkpoint | null = null,
  anchors = NO_ANCHORS,
): Promise<Result<LiveReport, string>> {
  const { keys, beside = [], foreign = [], projected } = store
  const checkpoints = await verifyCheckpoints(store.reader, keys, { kept, beside })
  if (checkpoints.isErr()) return err(checkpoints.error.message)
  const removed = await removedFrom(store.reader)
  if (removed.isErr()) return err(removed.error.message)
  const log = new LogCheck(checkpoints.value, projected && without(projected, removed.value))
  for await (const page of store.pages()) {
    if (page.isErr()) return err(page.error.message)
    for (const event of page.value) if (!removed.value.has(event.stream)) log.take(event)
  }
  const { all } = log
  all.findings.push(
    ...checkpoints.value.lost.map(lostFinding),
    ...foreign.map((message) => {
      return { problem: 'unexpected', where: LOG_FILE, seq: null, message } as const
    }),
  )
  const artifacts = await log.finish(store.artifacts)
  const read_model = projected === null ? null : projected.runs.size
  return ok(all.report({ anchors, kept, own: keys, artifacts, read_model }))
}

/** The streams of runs that the ledger says were removed, and that are gone: an EventStoreDB still delivers them. */
async function removedFrom(reader: StreamReader): Promise<Result<Set<string>, StoreFailure>> {
  const index = await retentionIndexOf(reader)
  if (index.isErr()) return err(index.error)
  const gone = new Set<string>()
  for (const runId of index.value.removals.keys()) {
    const last = await eventAt(reader, streamOf(runId), 'end')
    if (last.isErr()) return err(last.error)
    if (last.value === null) gone.add(streamOf(runId))
  }
  return ok(gone)
}

/** The read model, without what the next start of a server removes from it. */
function without(projected: Projected, gone: ReadonlySet<string>): Projected {
  const runs = [...projected.runs].filter(([runId]) => !gone.has(streamOf(runId)))
  const { last } = projected
  const isGone = last !== null && gone.has(last.stream)
  return { ...projected, runs: new Map(runs), last: isGone ? null : last }
}

/** A run as far as it holds, for the verifier and as a server folds it. */
type RunCheck = { readonly run: VerifiedRun; readonly folded: LoadedRun }

/** Gets the events of a log in order. */
class LogCheck {
  readonly all: LiveCheck
  readonly #projected: ProjectedCheck | null
  readonly #runs = new Map<string, RunCheck>()
  /** Runs that have a record that does not hold. */
  readonly #bad = new Set<string>()
  /** Artifacts that records name, each with the first record that names it. */
  readonly #named = new Map<string, NamedArtifact>()

  constructor(checkpoints: VerifiedCheckpoints, projected: Projected | null) {
    this.all = new LiveCheck(checkpoints, 'this log')
    this.#projected = projected && new ProjectedCheck(projected)
  }

  take(event: RecordedEvent): void {
    const { stream } = event
    if (stream.startsWith(RUN_STREAM_PREFIX)) this.#takeRecord(runIdOf(stream), event)
    else this.#takeEntry(event)
    this.#projected?.reach(event, () => this.#runsThatHold())
  }

  #takeRecord(runId: string, event: RecordedEvent): void {
    if (this.#bad.has(runId)) return
    const before = this.#runs.get(runId)
    const stored = storedRecord(event)
    const verified = verifyRecord(runId, before?.run ?? null, stored).andThen((record) =>
      foldStored(runId, before?.folded ?? null, stored).map((folded) => ({ record, folded })),
    )
    if (verified.isErr()) {
      this.#bad.add(runId)
      this.all.seeBad(runId, verified.error)
      return
    }
    const { record, folded } = verified.value
    const { seq, run } = record
    this.#runs.set(runId, { run, folded })
    this.#projected?.see(folded)
    this.all.see(record)
    this.all.family.see(record, event.created)
    for (const artifact of allArtifactsOf(record.record)) {
      if (!this.#named.has(artifact)) this.#named.set(artifact, { where: `run ${runId}`, seq })
    }
  }

  #takeEntry(event: RecordedEvent): void {
    const ledger = ledgerOf(event.stream)
    if (ledger === null) return
    const stored = storedRecord(event)
    const entry = this.all.takeEntry(ledger, stored)
    if (entry === null || ledger !== 'redactions') return
    const redaction = readRedaction(stored)
    if (redaction.isOk()) this.#takeRedaction(redaction.value)
    else {
      const bad = { problem: 'unreadable', seq: event.revision, message: redaction.error } as const
      this.all.findings.push({ ...bad, where: 'ledger redactions' })
    }
  }

  /** What a redaction leaves of a pack must be there, too, if a run names that pack. */
  #takeRedaction(redaction: Logged<Redaction>): void {
    this.all.redactions.add(redaction)
    const { artifact = '', replaced_by: kept } = redaction.record.payload
    const where = { where: 'ledger redactions', seq: redaction.seq }
    if (kept !== undefined && this.#named.has(artifact) && !this.#named.has(kept))
      this.#named.set(kept, where)
  }

  *#runsThatHold(): Generator<LoadedRun> {
    for (const [runId, { folded }] of this.#runs) if (!this.#bad.has(runId)) yield folded
  }

  /** Compares all that was read with what is beside it. @returns how many artifacts hold */
  async finish(source: ArtifactSource): Promise<number> {
    const { findings, redactions, lengthOf } = this.all
    const artifacts = await verifyArtifacts(source, this.#named, (name) =>
      redactions.hasDeleted(name),
    )
    const ofRedactions = redactions.findings(lengthOf).map(({ runId, ...finding }) => {
      return { ...finding, where: `run ${runId}` }
    })
    const ofReadModel = this.#projected?.findings((id) => this.#bad.has(id)) ?? []
    findings.push(...artifacts.findings, ...ofRedactions, ...ofReadModel)
    return artifacts.held
  }
}

/**
 * Verifies an export, and that a server can read each of its records. `folded` is the run as a server folds it; null if it
 * cannot.
 */
export async function verifyFolded(
  parts: AsyncIterable<BundlePart>,
  options: VerifyOptions,
): Promise<{ readonly report: BundleReport; readonly folded: LoadedRun | null }> {
  let folded: LoadedRun | null = null
  let bad: BadRecord | null = null
  const report = await verifyBundle(parts, {
    ...options,
    onRecord: (record, line) => {
      if (bad === null) {
        const next = foldStored(record.record.run_id, folded, line)
        if (next.isOk()) folded = next.value
        else bad = next.error
      }
      return options.onRecord?.(record, line)
    },
  })
  if (bad === null) return { report, folded }
  const findings = [...report.findings, { ...(bad as BadRecord), where: 'records' }]
  return { report: { ...report, holds: false, findings }, folded: null }
}
