import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import { RunRecord } from '../domain/records.ts'
import { type DamagedRecord, decodeAs, decodeCompared, type LoggedRecord } from '../log/codec.ts'
import { foldLogged, type LoadedRun, runIdOf, streamOf } from '../log/run-log.ts'
import type { RedactionIndex } from '../redaction/redaction-index.ts'
import type { Position, RecordedEvent } from '../store/event-store.ts'
import { runColumns } from './read-model.ts'
import type { RunTableRow } from './read-model-seal.ts'

/** The last event that is projected. */
export type Checkpoint = {
  readonly position: Position
  readonly stream: string
  readonly revision: number
  readonly eventId: string
}

/** A run whose record `seq` cannot be read: it stays as it was before, and its later records are skipped. */
export type DamagedRun = {
  readonly runId: string
  readonly seq: number
  readonly message: string
}

/** The runs before a batch. */
export type Before = {
  /** The run as of its last record before `revision` that is projected. */
  get(runId: string, revision: number): LoadedRun | null
  isDamaged(runId: string): boolean
  decode(event: RecordedEvent): Result<LoggedRecord, DamagedRecord>
}

/** What a batch writes, as plain data that another thread can send. */
export type BatchRows = {
  readonly rows: readonly RunTableRow[]
  /** The runs of which there is no row yet. */
  readonly newRuns: ReadonlySet<string>
  readonly damaged: readonly DamagedRun[]
  readonly checkpoint: Checkpoint | null
}

/**
 * A commit costs more than the events in it. While the read model catches up, each commit takes this many
 * events or changed runs: the runs are written in about 20 ms, during which no other work gets its turn.
 */
const COMMIT_EVENTS = 10_000
const COMMIT_RUNS = 1000

/** Events of the log, folded into the runs that they change. The read model knows nothing of them before the commit. */
export class Batch {
  readonly #before: Before
  readonly #runs = new Map<string, LoadedRun>()
  readonly #newRuns = new Set<string>()
  readonly #damaged = new Map<string, DamagedRun>()
  #last: RecordedEvent | null = null
  #of: { readonly stream: string; readonly runId: string } | null = null
  #size = 0

  constructor(before: Before) {
    this.#before = before
  }

  /** Folds one event in. An event that is already projected changes nothing. */
  add(event: RecordedEvent): void {
    const { stream, revision } = event
    this.#size += 1
    this.#last = event
    // The events of a run often come one after the other.
    if (this.#of?.stream !== stream) this.#of = { stream, runId: runIdOf(stream) }
    const { runId } = this.#of
    if (this.#damaged.has(runId) || this.#before.isDamaged(runId)) return
    const run = this.#runs.get(runId) ?? this.#find(runId, revision)
    if (run !== null && revision <= run.state.seq) return
    const decoded = this.#before.decode(event)
    const folded = decoded.isOk() ? foldLogged(runId, run, decoded.value) : err(decoded.error)
    if (folded.isOk()) this.#runs.set(runId, folded.value)
    else this.#damaged.set(runId, { runId, seq: folded.error.seq, message: folded.error.message })
  }

  #find(runId: string, revision: number): LoadedRun | null {
    const run = this.#before.get(runId, revision)
    if (run === null) this.#newRuns.add(runId)
    return run
  }

  /** How many events were added. */
  get size(): number {
    return this.#size
  }

  /** The changed runs, each as of its last event. */
  get runs(): ReadonlyMap<string, LoadedRun> {
    return this.#runs
  }

  get isFull(): boolean {
    return this.#size >= COMMIT_EVENTS || this.#runs.size >= COMMIT_RUNS
  }

  rows(): BatchRows {
    const runs = [...this.#runs.values()]
    return {
      rows: runs.map((run) => ({ ...runColumns(run), state: JSON.stringify(run.state) })),
      newRuns: this.#newRuns,
      damaged: [...this.#damaged.values()],
      checkpoint: this.#last && checkpointAt(this.#last),
    }
  }
}

/** So many small batches are merged at most, however few runs are in them. */
const MERGED = 20

/** Small batches that follow one another or hold different runs, as one. */
export class MergedBatches {
  #size = 0
  #rows = new Map<string, RunTableRow>()
  #newRuns = new Set<string>()
  #damaged: DamagedRun[] = []
  #checkpoint: Checkpoint | null = null

  add({ rows, newRuns, damaged, checkpoint }: BatchRows): void {
    this.#size += 1
    for (const row of rows) this.#rows.set(row.run_id, row)
    for (const runId of newRuns) this.#newRuns.add(runId)
    this.#damaged.push(...damaged)
    const isLater = Number(checkpoint?.position ?? 0) > Number(this.#checkpoint?.position ?? 0)
    if (isLater) this.#checkpoint = checkpoint
  }

  get isFull(): boolean {
    return this.#rows.size >= COMMIT_RUNS || this.#size >= MERGED
  }

  /** What was merged since this was last called; null if that is nothing. */
  take(): BatchRows | null {
    if (this.#checkpoint === null) return null
    const merged = {
      rows: [...this.#rows.values()],
      newRuns: this.#newRuns,
      damaged: this.#damaged,
      checkpoint: this.#checkpoint,
    }
    this.#size = 0
    this.#rows = new Map()
    this.#newRuns = new Set()
    this.#damaged = []
    this.#checkpoint = null
    return merged
  }
}

const checkpointAt = ({ position, stream, revision, id }: RecordedEvent): Checkpoint => {
  return { position, stream, revision, eventId: id }
}

type Source = {
  /** The events of a stream before a revision. Nobody knows whether their texts were altered. */
  before(stream: string, revision: number): Iterable<RecordedEvent>
}

/** Folds a log without a read model, for one that is made elsewhere from the rows. */
export class LogFold implements Before {
  readonly #source: Source
  readonly #redactions: RedactionIndex
  /** The runs that have not ended. A state is kept as its JSON, which takes less memory. */
  readonly #unfinished = new Map<string, { readonly state: string; readonly head: string }>()
  readonly #damaged: Set<string>
  #batch = new Batch(this)

  /** @param damaged runs that are known to be damaged */
  constructor(source: Source, redactions: RedactionIndex, damaged: readonly string[]) {
    this.#source = source
    this.#redactions = redactions
    this.#damaged = new Set(damaged)
  }

  /** Folds the next event of a run. @returns a full batch, else null */
  add(event: RecordedEvent): BatchRows | null {
    this.#batch.add(event)
    return this.#batch.isFull ? this.take() : null
  }

  /** What was folded since the last batch; null if that is nothing. */
  take(): BatchRows | null {
    const batch = this.#batch
    if (batch.size === 0) return null
    this.#batch = new Batch(this)
    const rows = batch.rows()
    for (const { run_id, state, head } of rows.rows) {
      const hasEnded = batch.runs.get(run_id)?.state.phase.type === 'ended'
      if (hasEnded) this.#unfinished.delete(run_id)
      else this.#unfinished.set(run_id, { state, head })
    }
    for (const { runId } of rows.damaged) this.#damaged.add(runId)
    return rows
  }

  isDamaged(runId: string): boolean {
    return this.#damaged.has(runId)
  }

  get(runId: string, revision: number): LoadedRun | null {
    if (revision === 0) return null
    const known = this.#unfinished.get(runId)
    if (known !== undefined) return { state: JSON.parse(known.state), head: known.head }
    let run: LoadedRun | null = null
    for (const event of this.#source.before(streamOf(runId), revision)) {
      const folded = this.decode(event).andThen((logged) => foldLogged(runId, run, logged))
      // The record after it is then reported as the damaged one.
      if (folded.isErr()) return run
      run = folded.value
    }
    return run
  }

  decode(event: RecordedEvent): Result<LoggedRecord, DamagedRecord> {
    const compared = decodeCompared(RunRecord, event)
    const asOfNow = this.#redactions.apply(event)
    return compared.isErr() || asOfNow === event ? compared : decodeAs(RunRecord, asOfNow)
  }
}

/** Folding pauses after this many events or milliseconds, whichever comes first, so that other work gets its turn. */
const SLICE_EVENTS = 100
const SLICE_MS = 3

/** Where batches are committed; `F` is why one was not. */
type Target<F> = Before & {
  /** Whether it has all that is stored, so that later events are committed at once. */
  readonly caughtUp: boolean
  commit(batch: Batch): Result<void, F>
}

type Deps<F> = {
  readonly readModel: Target<F>
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
}

/** The batch that events are folded into until it is committed; then the next one begins. */
export class OpenBatch<F> {
  readonly #deps: Deps<F>
  #batch: Batch

  constructor(deps: Deps<F>) {
    this.#deps = deps
    this.#batch = new Batch(deps.readModel)
  }

  /** Folds events in slices, and commits when the batch is full or the read model is current. Ends early if `round` aborts. */
  async project(events: readonly RecordedEvent[], round: AbortSignal): Promise<Result<void, F>> {
    for (let next = 0; next < events.length; ) {
      next += this.#fold(events.slice(next, next + SLICE_EVENTS))
      if (round.aborted) return ok(undefined)
      if (this.#batch.isFull || (next === events.length && this.#deps.readModel.caughtUp)) {
        const committed = this.commit()
        if (committed.isErr()) return committed
      }
      await nextTurn()
      if (round.aborted) return ok(undefined)
    }
    return ok(undefined)
  }

  commit(): Result<void, F> {
    const { readModel } = this.#deps
    if (this.#batch.size === 0) return ok(undefined)
    const committed = readModel.commit(this.#batch)
    if (committed.isOk()) this.#batch = new Batch(readModel)
    return committed
  }

  /** Folds events until a slice is over; returns how many. */
  #fold(events: readonly RecordedEvent[]): number {
    const { asOfNow } = this.#deps
    const began = performance.now()
    let folded = 0
    for (const event of events) {
      this.#batch.add(asOfNow === undefined ? event : asOfNow(event))
      folded += 1
      if (performance.now() - began > SLICE_MS) break
    }
    return folded
  }
}
