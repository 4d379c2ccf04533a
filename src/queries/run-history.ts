import { err, ok, type Result } from 'neverthrow'
import type { RunState } from '../domain/state.ts'
import { LruCache } from '../lib/lru-cache.ts'
import type { LoggedRecord } from '../log/codec.ts'
import { type LoadedRun, load, recordPages, streamOf } from '../log/run-log.ts'
import { lastEvent } from '../log/stream-pages.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { EventStore } from '../store/event-store.ts'
import type { QueryError } from './query-error.ts'

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
    let last = from - 1
    for await (const page of recordPages(this.#deps.store, runId, { from, to })) {
      if (page.isErr()) return err(page.error)
      for (const logged of page.value) visit(logged)
      last = page.value.at(-1)?.seq ?? last
    }
    return last < to ? err({ type: 'record_not_found', seq: to, last }) : ok(undefined)
  }

  async #fold(
    runId: string,
    from: LoadedRun | null,
    seq: number,
  ): Promise<Result<LoadedRun, QueryError>> {
    const snapshots = this.#snapshots
    const visit = (logged: LoggedRecord, run: LoadedRun): void => {
      if (logged.seq % SNAPSHOT_EVERY === 0) snapshots.set(keyOf(runId, logged.seq), run)
    }
    const loaded = await load(this.#deps.store, runId, { from, to: seq, visit })
    if (loaded.isErr()) return err(loaded.error)
    if (loaded.value === null) return err({ type: 'run_not_found' })
    const last = loaded.value.state.seq
    return last < seq ? err({ type: 'record_not_found', seq, last }) : ok(loaded.value)
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
}

/** What the log says is missing: the run, or its record with this seq. Null if the record is there. */
export async function whyMissing(
  store: EventStore,
  runId: string,
  seq: number,
): Promise<QueryError | null> {
  const last = await lastEvent(store, streamOf(runId))
  if (last.isErr()) return last.error
  const { revision } = last.value
  return revision < seq ? { type: 'record_not_found', seq, last: revision } : null
}

const keyOf = (runId: string, seq: number): string => `${runId}/${seq}`
