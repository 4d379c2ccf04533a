import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import type { DamagedRecord, LoggedRecord } from '../log/codec.ts'
import { foldLogged, type LoadedRun, runIdOf } from '../log/run-log.ts'
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
  /** The runs that have a record that cannot be read. */
  readonly damaged: ReadonlySet<string>
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
export const COMMIT_RUNS = 1000

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
    if (this.#damaged.has(runId) || this.#before.damaged.has(runId)) return
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

const checkpointAt = ({ position, stream, revision, id }: RecordedEvent): Checkpoint => {
  return { position, stream, revision, eventId: id }
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
