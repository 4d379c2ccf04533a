import { err, ok, type Result } from 'neverthrow'
import type { RunState } from '../domain/state.ts'
import { LruCache } from '../lib/lru-cache.ts'
import type { LoggedRecord } from '../log/codec.ts'
import { foldLogged, type LoadedRun, readRecords } from '../log/run-log.ts'
import { lastEvent } from '../log/run-pages.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { EventStore } from '../store/event-store.ts'
import type { QueryError } from './query-error.ts'

/** Records that are read and folded at once. */
const PAGE = 250
/** Every so many records the state is kept, so that the moments behind it need not be folded anew. */
const SNAPSHOT_EVERY = 1000
const SNAPSHOTS = 64

type Deps = { readonly store: EventStore; readonly readModel: Pick<ReadModel, 'get'> }

/** Runs as they were at any of their records. */
export class Moments {
  readonly #deps: Deps
  #snapshots = new LruCache<LoadedRun>(SNAPSHOTS)

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** To be called when something was taken out of a run. */
  forget(): void {
    // What is being folded from records that were read before is kept nowhere.
    this.#snapshots = new LruCache<LoadedRun>(SNAPSHOTS)
  }

  /** The state as of the record with this seq. */
  async stateAt(runId: string, seq: number): Promise<Result<RunState, QueryError>> {
    const present = this.#deps.readModel.get(runId)
    if (present?.state.seq === seq) return ok(present.state)
    if (present === null || present.state.seq < seq) {
      const missing = await whyMissing(this.#deps.store, runId, seq)
      if (missing !== null) return err(missing)
    }
    const folded = await this.#fold(runId, this.#snapshotBefore(runId, seq), seq)
    return folded.map(({ state }) => state)
  }

  /** Shows the records from `from` to `to`, both inclusive, to `visit`; there must be all of them. */
  async walk(
    runId: string,
    [from, to]: readonly [number, number],
    visit: (logged: LoggedRecord) => void,
  ): Promise<Result<void, QueryError>> {
    for (let next = from; next <= to; next += PAGE) {
      const page = await this.#read(runId, [next, to])
      if (page.isErr()) return err(page.error)
      for (const logged of page.value) visit(logged)
    }
    return ok(undefined)
  }

  async #fold(
    runId: string,
    from: LoadedRun | null,
    seq: number,
  ): Promise<Result<LoadedRun, QueryError>> {
    const snapshots = this.#snapshots
    let run = from
    while (run === null || run.state.seq < seq) {
      const next: number = run === null ? 0 : run.state.seq + 1
      const page = await this.#read(runId, [next, seq])
      if (page.isErr()) return err(page.error)
      for (const logged of page.value) {
        const folded = foldLogged(runId, run, logged)
        if (folded.isErr()) return err(folded.error)
        run = folded.value
        if (logged.seq % SNAPSHOT_EVERY === 0) snapshots.set(keyOf(runId, logged.seq), run)
      }
    }
    return ok(run)
  }

  /** Of the snapshots there are, the nearest: how many are looked at does not depend on what is asked. */
  #snapshotBefore(runId: string, seq: number): LoadedRun | null {
    let nearest: LoadedRun | null = null
    for (const snapshot of this.#snapshots.values()) {
      const { state } = snapshot
      if (state.runId !== runId || state.seq > seq) continue
      if (nearest === null || state.seq > nearest.state.seq) nearest = snapshot
    }
    if (nearest !== null) this.#snapshots.get(keyOf(runId, nearest.state.seq))
    return nearest
  }

  /** A page of the records from `from` to `to`, or why there is none in full. */
  async #read(
    runId: string,
    [from, to]: readonly [number, number],
  ): Promise<Result<readonly LoggedRecord[], QueryError>> {
    const count = Math.min(PAGE, to - from + 1)
    const page = await readRecords(this.#deps.store, runId, from, count)
    if (page.isErr()) return err(page.error)
    if (page.value.length === count) return ok(page.value)
    const last = from + page.value.length - 1
    return err({ type: 'record_not_found', seq: to, last })
  }
}

/** What the log says is missing: the run, or its record with this seq. Null if the record is there. */
export async function whyMissing(
  store: EventStore,
  runId: string,
  seq: number,
): Promise<QueryError | null> {
  const last = await lastEvent(store, runId)
  if (last.isErr()) return last.error
  const { revision } = last.value
  return revision < seq ? { type: 'record_not_found', seq, last: revision } : null
}

const keyOf = (runId: string, seq: number): string => `${runId}/${seq}`
