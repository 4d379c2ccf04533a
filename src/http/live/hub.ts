import type { Form } from '../../api/event-query.ts'
import type { Entry } from './entry.ts'
import { Pages } from './pages.ts'
import { Topic, type TopicDeps } from './topic.ts'

type Watched = { readonly topic: Topic; readonly watchers: Record<Form, number> }

const FORMS = ['record', 'with_meta'] as const satisfies readonly Form[]

/** What is followed: a run behind a seq, in one of its forms. */
type Followed = { readonly runId: string; readonly after: number; readonly form: Form }

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
   * long as `signal` has not aborted and the caller asks. The topic is dropped with the last caller, and
   * what it keeps in one form with the last who wanted that.
   */
  async *follow(
    { runId, after, form }: Followed,
    signal: AbortSignal,
  ): AsyncGenerator<readonly Entry[], void, void> {
    const { topic, watchers } = this.#watched.get(runId) ?? this.#open(runId)
    watchers[form] += 1
    try {
      let cursor = after
      while (!signal.aborted) {
        const entries = await topic.next(cursor, form, signal)
        if (entries.length > 0) yield entries
        cursor += entries.length
      }
    } finally {
      watchers[form] -= 1
      if (watchers[form] === 0) {
        topic.forget(form)
        this.#pages.forget(runId, form)
      }
      if (watchers.record + watchers.with_meta === 0) {
        this.#watched.delete(runId)
        topic.stop()
      }
    }
  }

  /** Lets go of all that is kept of a run: something was taken out of it. */
  forget(runId: string): void {
    for (const form of FORMS) this.#pages.forget(runId, form)
    this.#watched.get(runId)?.topic.forgetAll()
  }

  #open(runId: string): Watched {
    const topic = new Topic(runId, this.#pages, this.#deps)
    const watched = { topic, watchers: { record: 0, with_meta: 0 } }
    this.#watched.set(runId, watched)
    return watched
  }
}
