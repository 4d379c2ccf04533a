import { type LineFormat, lineBytes, linesIn, type RecordLine } from '../bundle/record-lines.ts'
import type { ContentsPool } from './contents-pool.ts'
import type { Batch, Isolated, KnownRuns, Verified } from './verify-batch.ts'
import type { BadRecord, SeenRecord, VerifiedRun } from './verify-run.ts'

/** The records of an export up to the first bad one. */
export type VerifiedRecords = {
  readonly run: VerifiedRun | null
  readonly bad: BadRecord | null
  /** The artifacts that records name, each with the first record that does. */
  readonly artifacts: ReadonlyMap<string, number>
  readonly isolated: Isolated
}

/** What others see of the records of an export that hold, in order. */
export type RecordsObserver = {
  /** The seqs of records to see, beside those that name other runs or are redacted. */
  readonly wanted?: (runId: string) => readonly number[]
  readonly onRecord?: (record: SeenRecord) => void
  /** Gets the run after some records. */
  readonly onRun?: (run: VerifiedRun) => void
  /** Gets the lines of all records. */
  readonly onLine?: (line: RecordLine) => void | Promise<void>
}

/** Lines of about this size are verified together. Larger batches take longer, because they do not fit into caches. */
const BATCH_BYTES = 32 * 1024

/** Verifies the records of a run, line by line. */
export class RecordsCheck implements VerifiedRecords {
  readonly #runId: string
  readonly #observer: RecordsObserver
  readonly #pool: ContentsPool
  run: VerifiedRun | null = null
  bad: BadRecord | null = null
  readonly artifacts = new Map<string, number>()
  isolated: Isolated = { check: 0, other: 0 }

  constructor(runId: string, pool: ContentsPool, observer: RecordsObserver = {}) {
    this.#runId = runId
    this.#pool = pool
    this.#observer = observer
  }

  /** The seq of the next record, if all before it hold. */
  get next(): number {
    return this.run === null ? 0 : this.run.state.seq + 1
  }

  /** Continues with the lines of a part, and reads it to its end. */
  async read(body: AsyncIterable<Uint8Array>, format: LineFormat): Promise<void> {
    const runId = this.#runId
    const wanted = this.#observer.wanted?.(runId) ?? []
    const batches = this.#pool.verify(lineBytes(body, BATCH_BYTES), {
      batchOf: (lines): Batch => ({ runId, lines, format }),
      knownOf: (): KnownRuns =>
        this.bad === null ? new Map([[runId, { run: this.run, wanted }]]) : new Map(),
    })
    for await (const { item, verified } of batches) {
      this.#take(verified)
      if (this.#observer.onLine === undefined) continue
      for (const text of linesIn(item).slice(0, verified.held)) {
        // It holds a record in its one form.
        const line: RecordLine = JSON.parse(text ?? '')
        await this.#observer.onLine(line)
      }
    }
  }

  #take({ runs, seen, bad, artifacts, isolated }: Verified): void {
    const { onRecord, onRun } = this.#observer
    for (const record of seen) onRecord?.(record)
    const run = runs.get(this.#runId)
    if (run !== undefined) {
      this.run = run
      onRun?.(run)
    }
    this.bad ??= bad[0]?.record ?? null
    for (const [name, { seq }] of artifacts) {
      if (!this.artifacts.has(name)) this.artifacts.set(name, seq)
    }
    const { check, other } = this.isolated
    this.isolated = { check: check + isolated.check, other: other + isolated.other }
  }
}
