/** How often the other end is asked, and how many questions it may leave open. */
export type Patience = { readonly everyMs: number; readonly questions: number }

/** A process on a busy machine may need seconds. */
export const PATIENCE: Patience = { everyMs: 5_000, questions: 6 }

/**
 * Finds out that a process does not work although it lives, for instance because it was stopped by a signal. It counts
 * questions, not time: if this process was stopped itself, the other one has not failed.
 */
export class Heartbeat {
  readonly #patience: Patience
  readonly #ask: () => void
  readonly #onSilence: () => void
  #open = 0
  #timer: ReturnType<typeof setInterval> | null = null

  /** @param ask sends something that is answered */
  constructor(patience: Patience, ask: () => void, onSilence: () => void) {
    this.#patience = patience
    this.#ask = ask
    this.#onSilence = onSilence
  }

  /** Begins to ask, if it does not already. */
  start(): void {
    this.#timer ??= setInterval(() => this.#beat(), this.#patience.everyMs).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#open = 0
  }

  /** Something came from the other end. */
  heard(): void {
    this.#open = 0
  }

  #beat(): void {
    if (this.#open >= this.#patience.questions) {
      this.stop()
      this.#onSilence()
      return
    }
    this.#open += 1
    this.#ask()
  }
}
