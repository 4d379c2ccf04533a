import type { Form } from '../../api/event-query.ts'
import { RUN_STREAM_PREFIX } from '../../log/run-log.ts'
import type { Position } from '../../store/event-store.ts'
import { type AllRunsFrame, allRunsFrames } from './all-runs-frame.ts'
import { sizeOf } from './frame.ts'
import { positionPlaces } from './ring.ts'
import { SharedTopic, type TopicDeps } from './shared-topic.ts'

type Frames = readonly AllRunsFrame[]

/** The records of all runs in the order of the log; a cursor is a position, null before the first record. */
export class AllRunsTopic {
  readonly #deps: TopicDeps
  readonly #topic: SharedTopic<Position | null, AllRunsFrame>

  constructor(deps: TopicDeps) {
    this.#deps = deps
    this.#topic = new SharedTopic<Position | null, AllRunsFrame>(
      {
        logFields: {},
        stored: (after, form, signal) => this.#stored(after, form, signal),
        subscribe: (after, signal) => this.#subscribe(after, signal),
        itemsOf: (events, form) => allRunsFrames(events, form, deps),
        cursorOf: ({ position }) => position,
        cursorOfEvent: ({ position }) => position,
        sizeOf,
        placesAfter: positionPlaces,
      },
      deps,
    )
  }

  /** All after a position: history, then live, as `SharedTopic.follow`. */
  follow(
    after: Position | null,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<Frames, void, void> {
    return this.#topic.follow(after, form, signal)
  }

  /** What is in the log now after a position. Ends there, or when `signal` aborts. */
  async *history(
    after: Position | null,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<Frames, void, void> {
    for await (const page of this.#stored(after, form, signal)) {
      if (page === null) return
      yield page
    }
  }

  /** Drops all that is kept, because a part of it was redacted. */
  forget(): void {
    this.#topic.forget()
  }

  /** A subscription for one reader, which stays open after the end of what is stored. */
  async *#stored(
    after: Position | null,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<Frames | null, void, void> {
    for await (const item of this.#subscribe(after, signal)) {
      if (item.type === 'caught_up') {
        yield null
        continue
      }
      if (item.type === 'interrupted') continue
      const frames = allRunsFrames(item.events, form, this.#deps)
      if (frames.length > 0) yield frames
    }
  }

  #subscribe(after: Position | null, signal: AbortSignal) {
    return this.#deps.store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })
  }
}
