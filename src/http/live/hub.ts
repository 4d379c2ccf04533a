import { Topic, type TopicDeps } from './topic.ts'

type Watched = { readonly topic: Topic; watchers: number }

/** The runs that are being watched in this process, each with its one topic. */
export class Hub {
  readonly #deps: TopicDeps
  readonly #watched = new Map<string, Watched>()

  constructor(deps: TopicDeps) {
    this.#deps = deps
  }

  /** Lends out the topic of a run. It is dropped when the last one gives it back. */
  async watch<T>(runId: string, use: (topic: Topic) => Promise<T>): Promise<T> {
    const watched = this.#watched.get(runId) ?? this.#open(runId)
    watched.watchers += 1
    try {
      return await use(watched.topic)
    } finally {
      watched.watchers -= 1
      if (watched.watchers === 0) {
        this.#watched.delete(runId)
        watched.topic.stop()
      }
    }
  }

  #open(runId: string): Watched {
    const watched = { topic: new Topic(runId, this.#deps), watchers: 0 }
    this.#watched.set(runId, watched)
    return watched
  }
}
