import type { Entry } from './entry.ts'
import { Pages } from './pages.ts'
import { Topic, type TopicDeps } from './topic.ts'

type Watched = { readonly topic: Topic; watchers: number }

/** The runs that are being watched in this process, each with its one topic. */
export class Hub {
  readonly #deps: TopicDeps
  readonly #pages: Pages
  readonly #watched = new Map<string, Watched>()

  constructor(deps: TopicDeps) {
    this.#deps = deps
    this.#pages = new Pages(deps, deps.limits.keptBytes)
  }

  /**
   * The entries of a run behind the seq `after`, in order and without gaps: history, then live, for as
   * long as `signal` has not aborted and the caller asks. The topic is dropped with the last caller.
   */
  async *follow(
    runId: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly Entry[], void, void> {
    const watched = this.#watched.get(runId) ?? this.#open(runId)
    watched.watchers += 1
    try {
      let cursor = after
      while (!signal.aborted) {
        const entries = await watched.topic.next(cursor, signal)
        if (entries.length > 0) yield entries
        cursor += entries.length
      }
    } finally {
      watched.watchers -= 1
      if (watched.watchers === 0) {
        this.#watched.delete(runId)
        watched.topic.stop()
        this.#pages.forget(runId)
      }
    }
  }

  #open(runId: string): Watched {
    const watched = { topic: new Topic(runId, this.#pages, this.#deps), watchers: 0 }
    this.#watched.set(runId, watched)
    return watched
  }
}
