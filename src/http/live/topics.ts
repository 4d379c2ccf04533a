import type { Result } from 'neverthrow'
import type { Form } from '../../api/event-query.ts'
import { LruCache } from '../../lib/lru-cache.ts'
import { RUN_STREAM_PREFIX, streamOf } from '../../log/run-log.ts'
import type { Position, ReadError } from '../../store/event-store.ts'
import type { LiveDeps } from './deps.ts'
import { type Frame, framesOf, sizeOf } from './frame.ts'
import { type Follower, SharedTopic, type TopicSource } from './shared-topic.ts'

/** What can be followed in this process. */
export type Topics = {
  readonly runTopics: ReturnType<typeof createRunTopics>
  /** The records of all runs in the order of the log; a cursor is a position, null before the first record. */
  readonly allRuns: SharedTopic<Position | null>
}

/** The runs that are followed in this process, each with its one topic. A cursor is the seq of a record. */
export function createRunTopics(deps: LiveDeps) {
  const { store, limits } = deps
  const pages = new PageCache(deps)
  const topics = new Map<string, SharedTopic<number>>()
  function sourceOf(runId: string): TopicSource<number> {
    const pageSize = new PageSize(limits.pageBytes)
    return {
      logFields: { run_id: runId },
      ofAll: false,
      stored: (...range) => storedPages(runId, range, { pages, pageSize, log: deps.log }),
      subscribe: (after, signal) => store.subscribeStream(streamOf(runId), { after, signal }),
      cursorOf: ({ seq }) => seq,
      onIdle: () => topics.delete(runId),
    }
  }
  return {
    /** Adds a follower to the topic of a run, which is dropped after its last follower has left. */
    join(runId: string, follower: Follower<number>): SharedTopic<number> {
      const topic = topics.get(runId) ?? new SharedTopic(sourceOf(runId), deps)
      topics.set(runId, topic)
      topic.join(follower)
      return topic
    },
    /** Drops all that is kept of a run, because a part of it was redacted. */
    forget(runId: string): void {
      pages.forget()
      topics.get(runId)?.forget()
    },
  }
}

type Stored = TopicSource<number>['stored']

/** Pages of a run, through the cache. The next full page is read while one is sent. */
async function* storedPages(
  runId: string,
  [after, form, signal]: Parameters<Stored>,
  from: Pick<LiveDeps, 'log'> & { readonly pages: PageCache; readonly pageSize: PageSize },
): ReturnType<Stored> {
  const { pages, pageSize, log } = from
  let cursor = after
  while (!signal.aborted) {
    const limit = pageSize.records
    const read = await pages.after(runId, cursor, limit, form)
    if (read.isErr()) {
      const fields = { run_id: runId, error: read.error }
      return log.warn(fields, 'cannot read a watched run, trying again')
    }
    const last = read.value.at(-1)
    if (last === undefined) return yield null
    cursor = last.seq
    pageSize.learn(read.value)
    // It is in the cache when the next round asks for it, which also sees an error.
    if (read.value.length >= limit) {
      void pages.after(runId, cursor, pageSize.records, form).then(() => {})
    }
    yield read.value
  }
}

/** The topic of all runs. Each reader reads what is stored by a subscription of its own. */
export function allRunsTopic(deps: LiveDeps): SharedTopic<Position | null> {
  const { store, readModel } = deps
  const subscribe = (after: Position | null, signal: AbortSignal) =>
    store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })
  return new SharedTopic<Position | null>(
    {
      logFields: {},
      ofAll: true,
      async *stored(after, form, signal) {
        for await (const item of subscribe(after, signal)) {
          if (item.type === 'caught_up') yield null
          if (item.type !== 'events') continue
          const frames = framesOf(item.events, { form, ofAll: true, readModel })
          if (frames.length > 0) yield frames
        }
      },
      subscribe,
      cursorOf: ({ position }) => position,
      onIdle: () => {},
    },
    deps,
  )
}

const MIN_RECORDS = 8
const FIRST_RECORDS = 64
const MAX_RECORDS = 1024

/** How many records to read at once so that a page has about the wanted size. Learns from each page. */
export class PageSize {
  readonly #bytes: number
  records = FIRST_RECORDS

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  learn(page: readonly Frame[]): void {
    if (page.length === 0) return
    const bytes = page.reduce((sum, frame) => sum + sizeOf(frame), 1)
    const fitting = Math.floor((this.#bytes * page.length) / bytes)
    this.records = Math.max(MIN_RECORDS, Math.min(fitting, this.records * 4, MAX_RECORDS))
  }
}

type Read = Result<readonly Frame[], ReadError>

/** A full page has about `pageBytes`, so they take about 32 MiB. */
const MAX_PAGES = 32

/**
 * Reads pages of runs, and keeps the latest for other observers: a client that joins a long run late is seldom alone. A
 * record never changes, so a cached page stays correct.
 */
export class PageCache {
  readonly #deps: Pick<LiveDeps, 'store' | 'readModel'>
  /** By what was asked for. */
  readonly #pages = new LruCache<Promise<Read>>(MAX_PAGES)

  constructor(deps: Pick<LiveDeps, 'store' | 'readModel'>) {
    this.#deps = deps
  }

  /** Records of a run right after `cursor`; empty after the last one. Callers that ask at the same time share one read. */
  after(runId: string, cursor: number, limit: number, form: Form): Promise<Read> {
    const key = `${runId} ${form} ${cursor}`
    const kept = this.#pages.get(key)
    if (kept !== undefined) return kept
    const { store, readModel } = this.#deps
    const read = Promise.resolve(
      store
        .readStream(streamOf(runId), { from: cursor + 1, direction: 'forward', limit })
        .map((events) => framesOf(events, { form, ofAll: false, readModel })),
    )
    this.#pages.set(key, read)
    // A page that could not be read, or is empty until now, is not kept.
    const drop = () => this.#pages.delete(key, read)
    read.then((page) => page.unwrapOr([]).length > 0 || drop(), drop)
    return read
  }

  /** Drops all pages, because a text in one of them was redacted. */
  forget(): void {
    this.#pages.clear()
  }
}
