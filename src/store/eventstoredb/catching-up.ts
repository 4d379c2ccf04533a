import type { Signal } from '../../lib/signal.ts'
import type { Source } from './sources.ts'

/**
 * An older answer about the head of the log is not used, but asked for again: the consumer was busy meanwhile. A
 * consumer that waits uses an answer at once, however long it was under way.
 */
const FRESH_MS = 50
/** How long to wait before the head is asked for again, if it is not reached or no answer came. */
const AGAIN_MS = 1000

/**
 * Finds out when a subscription has caught up: asks which event is the last one that is stored, and compares. The
 * server's own report is not used, because not all versions send it, nor for streams that do not exist yet.
 */
export class CatchingUp<P> {
  readonly #source: Source<P>
  readonly #news: Signal
  #state:
    | { readonly type: 'asking' }
    | { readonly type: 'known'; readonly head: P | null; readonly knownAt: number }
    | { readonly type: 'said' } = { type: 'asking' }
  #timer: NodeJS.Timeout | undefined
  #questions = 0
  #attempt = 0
  #closed = false

  constructor(source: Source<P>, news: Signal) {
    this.#source = source
    this.#news = news
    this.#ask()
  }

  /** True once, when all that is stored is delivered up to `reached`. */
  isDue(reached: P | null): boolean {
    if (this.#state.type !== 'known') return false
    const { head, knownAt } = this.#state
    if (head !== null && this.#source.isAfter(head, reached)) return false
    this.#attempt = 0
    if (performance.now() - knownAt > FRESH_MS) {
      this.#ask()
      return false
    }
    clearTimeout(this.#timer)
    this.#state = { type: 'said' }
    return true
  }

  /** The subscription fell behind. */
  restart(): void {
    this.#attempt = 0
    this.#ask()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #ask(): void {
    clearTimeout(this.#timer)
    this.#state = { type: 'asking' }
    this.#questions += 1
    const question = this.#questions
    const answered = (head: P | null) => {
      if (question !== this.#questions) return
      this.#state = { type: 'known', head, knownAt: performance.now() }
      this.#news.notify()
    }
    this.#source
      .head(this.#attempt)
      .then(answered, () => {})
      .finally(() => this.#askAgainLater(question))
  }

  #askAgainLater(question: number): void {
    if (this.#closed || question !== this.#questions || this.#state.type === 'said') return
    this.#timer = setTimeout(() => {
      this.#attempt += 1
      this.#ask()
    }, AGAIN_MS)
  }
}
