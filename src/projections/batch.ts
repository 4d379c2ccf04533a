import { err } from 'neverthrow'
import type { RunRecord } from '../domain/records.ts'
import { decode } from '../log/codec.ts'
import { foldLogged, type LoadedRun, runIdOf } from '../log/run-log.ts'
import { type LogPlace, placeOf } from '../log/stream-pages.ts'
import type { RecordedEvent } from '../store/event-store.ts'

/** A run whose record `seq` cannot be read: it stays as it was before, and its later records are skipped. */
export type DamagedRun = {
  readonly runId: string
  readonly seq: number
  readonly message: string
}

/** The runs before a batch. */
type Before = {
  /** The run as of its last record that is projected. */
  get(runId: string): LoadedRun | null
  /** The runs that have a record that cannot be read. */
  readonly damaged: ReadonlySet<string>
  readonly totals: Totals
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
  /** The changed runs, each as of its last event. */
  readonly runs = new Map<string, LoadedRun>()
  /** The runs that turned out to be damaged. */
  readonly damaged = new Map<string, DamagedRun>()
  /** The sums with this batch. */
  readonly totals: Record<keyof Totals, number>
  #last: RecordedEvent | null = null
  /** How many events were added. */
  size = 0

  constructor(before: Before) {
    this.#before = before
    this.totals = { ...before.totals }
  }

  /** Folds one event in. An event that is already projected changes nothing. */
  add(event: RecordedEvent): void {
    const { stream, revision } = event
    this.size += 1
    this.#last = event
    const runId = runIdOf(stream)
    if (this.damaged.has(runId) || this.#before.damaged.has(runId)) return
    const run = this.runs.get(runId) ?? this.#before.get(runId)
    if (run !== null && revision <= run.state.seq) return
    const decoded = decode(event)
    const folded = decoded.isOk() ? foldLogged(runId, run, decoded.value) : err(decoded.error)
    if (folded.isOk() && decoded.isOk()) {
      this.runs.set(runId, folded.value)
      addTo(this.totals, decoded.value.record)
    } else if (folded.isErr()) {
      this.damaged.set(runId, { runId, seq: folded.error.seq, message: folded.error.message })
    }
  }

  get isFull(): boolean {
    return this.size >= COMMIT_EVENTS || this.runs.size >= COMMIT_RUNS
  }

  /** The last event; null before the first. */
  get checkpoint(): LogPlace | null {
    return this.#last && placeOf(this.#last)
  }
}

/** What all records of runs amount to. The second part of each name is a kind, or a model. */
type TotalName = `records/${string}` | `${'input' | 'output' | 'cost'}/${string}`
export type Totals = Readonly<Record<TotalName, number>>

/** Adds a record. In the order of the log, so that the sum of the costs is the same each time. */
export function addTo(totals: Record<TotalName, number>, { kind, payload }: RunRecord): void {
  const add = (name: TotalName, more: number): void => {
    totals[name] = (totals[name] ?? 0) + more
  }
  add(`records/${kind}`, 1)
  if (kind !== 'llm_usage') return
  const { model_name: model, input_tokens, output_tokens, cost_usd } = payload
  add(`input/${model}`, input_tokens)
  add(`output/${model}`, output_tokens)
  add(`cost/${model}`, cost_usd ?? 0)
}
