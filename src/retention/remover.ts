import { randomUUID } from 'node:crypto'
import type { Result } from 'neverthrow'
import type { RunRemoval } from '../api/retention.ts'
import { allArtifactsOf, NAMING_KINDS } from '../domain/named-artifacts.ts'
import { within } from '../lib/promises.ts'
import { decode } from '../log/codec.ts'
import { RUN_STREAM_PREFIX, streamOf } from '../log/run-log.ts'
import { eventAt, logPages, streamPages } from '../log/stream-pages.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import type { RecentArtifacts } from './recent-artifacts.ts'
import type { Retention } from './retention.ts'

type Deps = {
  readonly retention: Retention
  /** The log as it is stored. */
  readonly store: EventStore
  readonly artifacts: Pick<RecentArtifacts, 'beginRemoval' | 'removeUnnamed'>
  /** The packs that may hold what is kept of one. */
  readonly packsOf: (sha256: string) => readonly string[]
  /** Drops what was derived from runs. If it rejects, it is called again. */
  readonly forget: (runIds: readonly string[]) => void | Promise<void>
}

/** Removes the runs that the ledger of retention names: what was derived from them, their artifacts, then their streams. */
export class Remover {
  readonly #deps: Deps

  constructor(deps: Deps) {
    this.#deps = deps
  }

  start(): void {
    const { store, retention } = this.#deps
    const { index, work } = retention
    work.start(store, (entries) => {
      // Of several entries of a run, the last one counts.
      const isLast = ({ entry }: RunRemoval) => entries.some(({ seq }) => seq === entry)
      return this.#carryOut([...index.removals.values()].filter(isLast))
    })
  }

  stop(): Promise<void> {
    return this.#deps.retention.work.stop()
  }

  /** Resolves once all that is recorded now is removed, at the latest after `ms`. @returns whether it is */
  async settled(ms: number): Promise<boolean> {
    const { work } = this.#deps.retention
    const read = await within(ms, work.read(), () => null)
    return read?.isOk() === true && work.reached(work.known, AbortSignal.timeout(ms))
  }

  async #carryOut(removals: readonly RunRemoval[]): Promise<void> {
    const { store, artifacts, forget } = this.#deps
    if (removals.length === 0) return
    await forget(removals.map(({ run_id }) => run_id))
    const left: RunRemoval[] = []
    for (const removal of removals) {
      const end = unwrap(await eventAt(store, streamOf(removal.run_id), 'end'))
      if (end === null) continue
      if (end.revision + 1 === removal.length) left.push(removal)
      else await this.#correct(removal, end)
    }
    for (const name of await this.#namedOnlyBy(left)) await artifacts.removeUnnamed(name)
    for (const { run_id, length } of left) {
      const removed = await store.removeStream?.(streamOf(run_id), length - 1)
      if (removed?.isErr()) throw new Error(`run ${run_id} stays: ${removed.error.type}`)
    }
  }

  /** The run got a record in the moment of its removal. The new entry is carried out next. */
  async #correct(removal: RunRemoval, end: RecordedEvent): Promise<void> {
    const { principal } = removal
    const author = { commandId: randomUUID(), ...(principal !== null && { principal }) }
    const { seq, meta } = unwrap(decode(end))
    const to = { length: seq + 1, head: meta.hash }
    unwrap(await this.#deps.retention.correct(removal, to, author))
  }

  /** The artifacts that runs name, and that no other run does. */
  async #namedOnlyBy(removals: readonly RunRemoval[]): Promise<string[]> {
    const { store, retention, artifacts, packsOf } = this.#deps
    artifacts.beginRemoval()
    const names = new Set<string>()
    for (const { run_id } of removals) {
      for await (const page of streamPages(store, streamOf(run_id))) {
        for (const name of unwrap(page).flatMap(artifactsIn).flatMap(packsOf)) names.add(name)
      }
    }
    if (names.size === 0) return []
    for await (const page of logPages(store, { prefix: RUN_STREAM_PREFIX })) {
      for (const { stream, type, data } of unwrap(page)) {
        if (!NAMING_KINDS.has(type) || retention.isGone(stream)) continue
        // By its text: a record that cannot be read names something, too.
        for (const [hash] of data.matchAll(HASH)) {
          for (const name of packsOf(hash)) names.delete(name)
        }
      }
    }
    return [...names]
  }
}

const HASH = /[0-9a-f]{64}/g

function artifactsIn(event: RecordedEvent): readonly string[] {
  const record = NAMING_KINDS.has(event.type) ? decode(event).unwrapOr(null)?.record : undefined
  if (record === undefined) return []
  const start = record.kind === 'run_created' ? record.payload.taken_over?.start : undefined
  return [...allArtifactsOf(record), ...(start === undefined ? [] : [start.protected])]
}

/** @throws Error */
function unwrap<T>(result: Result<T, { readonly type: string }>): T {
  if (result.isOk()) return result.value
  throw new Error(JSON.stringify(result.error))
}
