import { err } from 'neverthrow'
import { RunRecord } from '../domain/records.ts'
import { decode, decodeAs } from '../log/codec.ts'
import { foldLogged, type LoadedRun, runIdOf } from '../log/run-log.ts'
import type { Position, RecordedEvent } from '../store/event-store.ts'

/** The last event that is projected. */
export type Checkpoint = {
  readonly position: Position
  readonly stream: string
  readonly revision: number
  readonly eventId: string
}

/** A run whose record `seq` cannot be read: it stays as it was before, and its later records are skipped. */
type DamagedRun = {
  readonly runId: string
  readonly seq: number
  readonly message: string
}

/** The runs before a batch. */
type Projected = {
  /** While it catches up, nothing else needs the same records soon, so they are not kept. */
  readonly caughtUp: boolean
  get(runId: string): LoadedRun | null
  isDamaged(runId: string): boolean
}

/** Events of the log, folded into the runs that they change. The read model knows nothing of them before the commit. */
export class Batch {
  readonly #before: Projected
  readonly #runs = new Map<string, LoadedRun>()
  readonly #newRuns = new Set<string>()
  readonly #damaged = new Map<string, DamagedRun>()
  #checkpoint: Checkpoint | null = null
  #size = 0

  constructor(before: Projected) {
    this.#before = before
  }

  /** Folds one event in. An event that is already projected changes nothing. */
  add(event: RecordedEvent): void {
    const { stream, revision, position, id } = event
    this.#size += 1
    this.#checkpoint = { position, stream, revision, eventId: id }
    const runId = runIdOf(stream)
    if (this.#damaged.has(runId) || this.#before.isDamaged(runId)) return
    const run = this.#runs.get(runId) ?? this.#find(runId)
    if (run !== null && revision <= run.state.seq) return
    const decoded = this.#before.caughtUp ? decode(event) : decodeAs(RunRecord, event)
    const folded = decoded.isOk() ? foldLogged(runId, run, decoded.value) : err(decoded.error)
    if (folded.isOk()) this.#runs.set(runId, folded.value)
    else this.#damaged.set(runId, { runId, seq: folded.error.seq, message: folded.error.message })
  }

  #find(runId: string): LoadedRun | null {
    const run = this.#before.get(runId)
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

  /** Whether the run begins in this batch. */
  isNew(runId: string): boolean {
    return this.#newRuns.has(runId)
  }

  /** The runs that turned out to be damaged. */
  get damaged(): readonly DamagedRun[] {
    return [...this.#damaged.values()]
  }

  /** The last event added; null before the first. */
  get checkpoint(): Checkpoint | null {
    return this.#checkpoint
  }
}
