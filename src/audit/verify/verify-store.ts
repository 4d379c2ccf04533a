import { ok, type ResultAsync, safeTry } from 'neverthrow'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import type { KeptCheckpoint } from '../../checkpoints/kept-checkpoints.ts'
import type { KnownKeys } from '../../checkpoints/public-keys.ts'
import { allArtifactsOf } from '../../domain/named-artifacts.ts'
import { type LoadedRun, RUN_STREAM_PREFIX, runIdOf, streamOf } from '../../log/run-log.ts'
import { eventAt, type LogPages, type StreamReader } from '../../log/stream-pages.ts'
import { retentionIndexOf } from '../../retention/ledger.ts'
import type { RecordedEvent, StoreFailure } from '../../store/event-store.ts'
import { ledgerOf } from '../ledgers.ts'
import { foldStored, storedRecord } from '../stored-events.ts'
import {
  type NamedArtifact,
  type Projected,
  ProjectedCheck,
  TreesCheck,
  verifyArtifacts,
} from './beside-log.ts'
import { LiveCheck, type LiveReport } from './live-report.ts'
import { finding } from './report.ts'
import { lostFinding, verifyCheckpoints } from './verify-checkpoints.ts'
import { type VerifiedRun, verifyRecord } from './verify-run.ts'
import { type Demands, shownByLog, wantedBy } from './witness-check.ts'

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
export const verifyStore = (
  store: VerifiableStore,
  demands: Demands = {},
): ResultAsync<LiveReport, string> =>
  safeTry(async function* () {
    const { reader, keys, beside = [], foreign = [], projected } = store
    const wanted = yield* await wantedBy(demands, () => shownByLog(reader))
    const checkpoints = yield* (await verifyCheckpoints(reader, keys, wanted.kept, beside)).mapErr(
      ({ message }) => message,
    )
    const gone = yield* removedFrom(reader).mapErr(({ message }) => message)
    const check = new LiveCheck(checkpoints, 'this log')
    const log = new LogCheck(check, projected && new ProjectedCheck(projected, gone))
    for await (const page of store.pages()) {
      const events = yield* page.mapErr(({ message }) => message)
      for (const event of events) if (!gone.has(event.stream)) log.take(event)
    }
    check.findings.push(
      ...checkpoints.lost.map(lostFinding),
      ...foreign.map((message) => finding('unexpected', LOG_FILE, message)),
    )
    const artifacts = await log.finish(store.artifacts)
    const read_model = projected?.runs.size ?? null
    return ok(check.report({ wanted, artifacts, read_model }))
  })

/** The streams of runs that the ledger says were removed, and that are gone: an EventStoreDB still delivers them. */
const removedFrom = (reader: StreamReader): ResultAsync<ReadonlySet<string>, StoreFailure> =>
  safeTry(async function* () {
    const { removals } = yield* retentionIndexOf(reader)
    const gone = new Set<string>()
    for (const stream of removals.keys().map(streamOf)) {
      if ((yield* eventAt(reader, stream, 'end')) === null) gone.add(stream)
    }
    return ok(gone)
  })

/** A run as far as it holds, for the verifier and as a server folds it. */
type RunCheck = { readonly run: VerifiedRun; readonly folded: LoadedRun }

/** Gets the events of a log in order. */
class LogCheck {
  readonly #all: LiveCheck
  readonly #projected: ProjectedCheck | null
  /** Null for a run that has a record that does not hold. */
  readonly #runs = new Map<string, RunCheck | null>()
  /** Artifacts that records name, each with the first record that names it. */
  readonly #named = new Map<string, NamedArtifact>()
  readonly #trees = new TreesCheck()

  constructor(all: LiveCheck, projected: ProjectedCheck | null) {
    this.#all = all
    this.#projected = projected
  }

  take(event: RecordedEvent): void {
    const { stream } = event
    const ledger = ledgerOf(stream)
    if (stream.startsWith(RUN_STREAM_PREFIX)) this.#takeRecord(runIdOf(stream), event)
    else if (ledger !== null) this.#all.takeEntry(ledger, storedRecord(event))
    this.#projected?.reach(event, () => this.#runsThatHold())
  }

  #takeRecord(runId: string, event: RecordedEvent): void {
    const before = this.#runs.get(runId)
    if (before === null) return
    const stored = storedRecord(event)
    const verified = verifyRecord(runId, before?.run ?? null, stored).andThen((record) =>
      foldStored(runId, before?.folded ?? null, stored).map((folded) => ({ record, folded })),
    )
    if (verified.isErr()) {
      this.#runs.set(runId, null)
      this.#all.seeBad(runId, verified.error)
      return
    }
    const { record, folded } = verified.value
    const { seq, run } = record
    this.#runs.set(runId, { run, folded })
    this.#projected?.see(folded)
    this.#all.see(record)
    this.#all.family.see(record, event.created)
    const { kind, payload } = record.record
    if (kind === 'snapshot') this.#trees.see(runId, seq, payload)
    for (const artifact of allArtifactsOf(record.record)) {
      if (!this.#named.has(artifact)) this.#named.set(artifact, { where: `run ${runId}`, seq })
    }
  }

  *#runsThatHold(): Generator<LoadedRun> {
    for (const check of this.#runs.values()) if (check !== null) yield check.folded
  }

  /** Compares all that was read with what is beside it. @returns how many artifacts hold */
  async finish(source: ArtifactSource): Promise<number> {
    const { findings, redactions, lengthOf } = this.#all
    // What a redaction leaves of a pack must be there, too, if a run names that pack.
    for (const { seq, record } of redactions.entries) {
      const { artifact = '', replaced_by: rest = artifact } = record.payload
      if (rest !== artifact) this.#trees.packs.add(rest)
      if (!this.#named.has(artifact) || this.#named.has(rest)) continue
      this.#named.set(rest, { where: 'ledger redactions', seq })
    }
    const isDeleted = (name: string) => redactions.hasDeleted(name)
    const artifacts = await verifyArtifacts(source, this.#named, isDeleted, this.#trees)
    const ofRedactions = redactions.findings(lengthOf).map(({ runId, ...each }) => {
      return { ...each, where: `run ${runId}` }
    })
    const isBad = (runId: string): boolean => this.#runs.get(runId) === null
    const ofReadModel = this.#projected?.findings(isBad) ?? []
    const ofTrees = this.#trees.findings(redactions)
    findings.push(...artifacts.findings, ...ofTrees, ...ofRedactions, ...ofReadModel)
    return artifacts.held
  }
}
