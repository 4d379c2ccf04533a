import { randomUUID } from 'node:crypto'
import type { Result } from 'neverthrow'
import type { RunRemoval } from '../api/retention.ts'
import type { RecentArtifacts } from '../artifacts/recent-artifacts.ts'
import { allArtifactsOf, NAMING_KINDS } from '../domain/named-artifacts.ts'
import { Backoff, keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { within } from '../lib/promises.ts'
import { Signal } from '../lib/signal.ts'
import { decode } from '../log/codec.ts'
import { RUN_STREAM_PREFIX, streamOf } from '../log/run-log.ts'
import { eventAt, logPages, streamPages } from '../log/stream-pages.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import { RETENTION } from './ledger.ts'
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
  readonly log: Logger
}

/** Pauses between attempts. */
const RETRY_MS: PauseBoundsMs = [100, 10_000]

/**
 * Follows the ledger of retention, and removes the runs that it names: what was derived from them, their artifacts, then
 * their streams. At each start it looks at all of them again, so an interruption between any two steps does no harm.
 */
export class Remover {
  readonly #deps: Deps
  readonly #stop = new AbortController()
  readonly #news = new Signal()
  /** The last entry that is carried out. */
  #done = -1
  #following: Promise<void> = Promise.resolve()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  start(): void {
    const { log } = this.#deps
    const onFailure = (err: unknown) =>
      log.error({ err }, 'the ledger of retention cannot be followed, trying again')
    const { signal } = this.#stop
    this.#following = keepRunning(() => this.#follow(), { signal, retryMs: RETRY_MS, onFailure })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#following
  }

  /** Resolves once all that is recorded now is removed, at the latest after `ms`. @returns whether it is */
  async settled(ms: number): Promise<boolean> {
    const { retention } = this.#deps
    const read = await within(ms, retention.ready(), () => null)
    if (read === null || read.isErr()) return false
    const goal = retention.index.known
    const signal = AbortSignal.any([AbortSignal.timeout(ms), this.#stop.signal])
    while (this.#done < goal && !signal.aborted) await this.#news.wait(signal)
    return this.#done >= goal
  }

  async #follow(): Promise<void> {
    const { retention, store, log } = this.#deps
    const { signal } = this.#stop
    const backoff = new Backoff(RETRY_MS)
    for await (const item of store.subscribeStream(RETENTION.stream, { after: -1, signal })) {
      if (item.type !== 'events') continue
      while (!signal.aborted) {
        try {
          unwrap(await retention.read())
          const { removals, known } = retention.index
          await this.#carryOut([...removals.values()].filter(({ entry }) => entry > this.#done))
          this.#done = known
          this.#news.notify()
          break
        } catch (error) {
          if (backoff.failures === 0) log.warn({ err: error }, 'runs cannot be removed yet')
          await backoff.wait(signal)
        }
      }
      backoff.reset()
    }
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
