import { isDeepStrictEqual } from 'node:util'
import { err, ok, type Result } from 'neverthrow'
import type { OpenCall, RunState } from '../domain/state.ts'
import { LruCache } from '../lib/lru-cache.ts'
import type { LoggedRecord } from '../log/codec.ts'
import { type LoadError, type LoadedRun, load, recordPages, streamOf } from '../log/run-log.ts'
import { lastEvent, type StreamReader } from '../log/stream-pages.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { EventStore } from '../store/event-store.ts'

/** Why a query about a run failed. */
export type QueryError =
  | LoadError
  | { readonly type: 'run_not_found' }
  /** The run has no record with this seq yet. */
  | { readonly type: 'record_not_found'; readonly seq: number; readonly last: number }

/** The state is kept after every so many records: a fold to a later record begins there. */
const SNAPSHOT_EVERY = 1000
const SNAPSHOTS = 64

type Deps = { readonly store: EventStore; readonly readModel: Pick<ReadModel, 'get'> }

/** Runs as they were at any of their records. */
export class RunHistory {
  readonly #deps: Deps
  #snapshots = new LruCache<LoadedRun>(SNAPSHOTS)

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** To be called when something in a run was redacted. */
  forget(): void {
    // A fold under way still puts its snapshots into the old cache.
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

  /** Calls `visit` with each record from `from` to `to`, both inclusive; fails if the run does not have them all. */
  async walk(
    runId: string,
    [from, to]: readonly [number, number],
    visit: (logged: LoggedRecord) => void,
  ): Promise<Result<void, QueryError>> {
    let last = from - 1
    for await (const page of recordPages(this.#deps.store, runId, { after: last, to })) {
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

  /** The nearest snapshot; null if there is none. Its cost depends only on the number of snapshots. */
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

/** The error that names what is missing in the log: the run, or its record with this seq. Null if the record exists. */
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

/** A field of a run's details that changed. `field` is its path, such as `progress.iteration`. */
type FieldChange = { readonly field: string; readonly old: unknown; readonly new: unknown }

type Fields = { readonly [name: string]: unknown }

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null

/** The differences between two objects, in the order of their fields. A field that one of them lacks is null there. */
export function fieldChanges(before: Fields, after: Fields, path = ''): FieldChange[] {
  const names = new Set([...Object.keys(after), ...Object.keys(before)])
  return [...names].flatMap((name) => {
    const [old, now] = [before[name] ?? null, after[name] ?? null]
    const field = `${path}${name}`
    if (Array.isArray(now)) {
      return isDeepStrictEqual(old, now) ? [] : [{ field, old, new: now }]
    }
    if (isFields(old) && isFields(now)) return fieldChanges(old, now, `${field}.`)
    return old === now ? [] : [{ field, old, new: now }]
  })
}

/** Records that are read at once. Few other records can follow that of an open call. */
const PAGE = 8

/** The call that was open in this state, with the seq of its record; null if none was. */
export async function openCall(
  { runId, phase, seq }: RunState,
  { store }: { readonly store: StreamReader },
): Promise<Result<{ readonly seq: number; readonly call: OpenCall } | null, QueryError>> {
  const call = phase.type === 'acting' ? phase.open : null
  if (call === null) return ok(null)
  for (let from = seq; from >= 0; from -= PAGE) {
    const options = { from, direction: 'backward', limit: PAGE } as const
    const page = await store.readStream(streamOf(runId), options)
    if (page.isErr()) return err(page.error)
    const found = page.value.find(({ type }) => type === 'tool_call')
    if (found !== undefined) return ok({ seq: found.revision, call })
  }
  return ok(null)
}
