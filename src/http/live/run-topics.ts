import type { Form } from '../../api/event-query.ts'
import { streamOf } from '../../log/run-log.ts'
import { framesOf, type RunFrame, sizeOf } from './frame.ts'
import { seqPlaces } from './ring.ts'
import { PageCache, PageSize } from './run-pages.ts'
import { type Follower, SharedTopic, type TopicDeps } from './shared-topic.ts'

/** One run as its followers read it; a cursor is the seq of a record. */
export type RunTopic = SharedTopic<number, RunFrame>

const FORMS = ['record', 'with_meta'] as const satisfies readonly Form[]

/** The subscription is usually ahead of the projector. */
const NOT_PROJECTED = -1

/** A run after a seq, in one of its forms. */
type Followed = { readonly runId: string; readonly after: number; readonly form: Form }

/** The runs that are followed in this process, each with its one topic. */
export class RunTopics {
  readonly #deps: TopicDeps
  readonly #pages: PageCache
  readonly #topics = new Map<string, RunTopic>()

  constructor(deps: TopicDeps) {
    this.#deps = deps
    this.#pages = new PageCache(deps, deps.limits.keptBytes)
  }

  /**
   * The frames of a run: history, then live, as `SharedTopic.follow`. The topic is dropped after its last follower has
   * left, and the frames of one form after the last follower that wanted that form.
   */
  follow(
    { runId, after, form }: Followed,
    signal: AbortSignal,
  ): AsyncGenerator<readonly RunFrame[], void, void> {
    return this.#topicOf(runId).follow(after, form, signal)
  }

  /** Adds a follower, as `SharedTopic.join`. */
  join(runId: string, follower: Follower<number>): RunTopic {
    const topic = this.#topicOf(runId)
    topic.join(follower)
    return topic
  }

  /** Drops all that is kept of a run, because a part of it was redacted. */
  forget(runId: string): void {
    for (const form of FORMS) this.#pages.forget(runId, form)
    this.#topics.get(runId)?.forget()
  }

  #topicOf(runId: string): RunTopic {
    return this.#topics.get(runId) ?? this.#open(runId)
  }

  #open(runId: string): RunTopic {
    const pageSize = new PageSize(this.#deps.limits.pageBytes)
    const topic: RunTopic = new SharedTopic(
      {
        logFields: { run_id: runId },
        stored: (after, form, signal) => this.#stored({ runId, after, form }, pageSize, signal),
        subscribe: (after, signal) =>
          this.#deps.store.subscribeStream(streamOf(runId), { after, signal }),
        itemsOf: (events, form) => framesOf(events, NOT_PROJECTED, form),
        cursorOf: ({ seq }) => seq,
        cursorOfEvent: ({ revision }) => revision,
        sizeOf,
        placesAfter: seqPlaces,
        released: (form, isIdle) => {
          this.#pages.forget(runId, form)
          if (isIdle && this.#topics.get(runId) === topic) this.#topics.delete(runId)
        },
      },
      this.#deps,
    )
    this.#topics.set(runId, topic)
    return topic
  }

  /** Pages of the store, through the cache. The next full page is read while one is sent. */
  async *#stored(
    { runId, after, form }: Followed,
    pageSize: PageSize,
    signal: AbortSignal,
  ): AsyncGenerator<readonly RunFrame[] | null, void, void> {
    let cursor = after
    while (!signal.aborted) {
      const limit = pageSize.records
      const read = await this.#pages.after(runId, cursor, limit, form)
      if (read.isErr()) {
        const fields = { run_id: runId, error: read.error }
        this.#deps.log.warn(fields, 'cannot read a watched run, trying again')
        return
      }
      const page = read.value
      const last = page.at(-1)
      if (last === undefined) {
        yield null
        return
      }
      cursor = last.seq
      pageSize.learn(
        page.length,
        page.reduce((sum, frame) => sum + sizeOf(frame), 0),
      )
      if (page.length >= limit) this.#pages.readAhead(runId, cursor, pageSize.records, form)
      yield page
    }
  }
}
