import { err, type Result } from 'neverthrow'
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

const checkpointAt = ({ position, stream, revision, id }: RecordedEvent): Checkpoint => {
  return { position, stream, revision, eventId: id }
}
