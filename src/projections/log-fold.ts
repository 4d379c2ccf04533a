import type { Result } from 'neverthrow'
import { RunRecord } from '../domain/records.ts'
import { type DamagedRecord, decodeAs, decodeCompared, type LoggedRecord } from '../log/codec.ts'
import { foldLogged, type LoadedRun, streamOf } from '../log/run-log.ts'
import type { RedactionIndex } from '../redaction/redaction-index.ts'
import type { RecordedEvent } from '../store/event-store.ts'
import {
  Batch,
  type BatchRows,
  type Before,
  type Checkpoint,
  COMMIT_RUNS,
  type DamagedRun,
} from './batch.ts'
import type { RunTableRow } from './read-model-seal.ts'

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
  readonly damaged: Set<string>
  #batch = new Batch(this)

  /** @param damaged runs that are known to be damaged */
  constructor(source: Source, redactions: RedactionIndex, damaged: readonly string[]) {
    this.#source = source
    this.#redactions = redactions
    this.damaged = new Set(damaged)
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
    for (const { runId } of rows.damaged) this.damaged.add(runId)
    return rows
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

/** How many positions a thread folds at once, as one batch: fewer than fill it, because each changes one run at most. */
export const SHARE_WINDOW = COMMIT_RUNS - 100

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
