/** How often the beats are looked at, milliseconds. */
const LOOK_MS = 250
/** A thread whose event loop has not turned for this long is stuck, milliseconds. */
export const STUCK_MS = 5_000

/** The number of beats that a thread has made, in memory that it shares with its observer. */
export type Beats = Int32Array<SharedArrayBuffer>
export const newBeats = (): Beats => new Int32Array(new SharedArrayBuffer(4))

/** Beats from the event loop of the calling thread for as long as that turns. Keeps no thread alive. */
export function startBeating(beats: Beats): void {
  setInterval(() => Atomics.add(beats, 0, 1), LOOK_MS).unref()
}

/**
 * Observes another thread by its beats. Only time in which the observer itself has turned counts: a
 * process that was suspended as a whole finds nobody stuck when it continues.
 */
export class Watchdog {
  readonly #beats: Beats
  readonly #on: { readonly stuck: () => void; readonly turning: (afterMs: number) => void }
  readonly #timer: NodeJS.Timeout
  #seen: number
  #lookedAt = performance.now()
  #silentMs = 0

  /** @param on `stuck` is called once for each silence that lasts STUCK_MS, `turning` when it is over */
  constructor(
    beats: Beats,
    on: { readonly stuck: () => void; readonly turning: (afterMs: number) => void },
  ) {
    this.#beats = beats
    this.#on = on
    this.#seen = Atomics.load(beats, 0)
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  /** How long the thread has been silent, milliseconds. */
  get silentMs(): number {
    return this.#silentMs
  }

  get stuck(): boolean {
    return this.#silentMs >= STUCK_MS
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const now = performance.now()
    const passed = Math.min(now - this.#lookedAt, 2 * LOOK_MS)
    this.#lookedAt = now
    const before = this.#silentMs
    const beats = Atomics.load(this.#beats, 0)
    if (beats === this.#seen) {
      this.#silentMs += passed
      if (this.stuck && before < STUCK_MS) this.#on.stuck()
      return
    }
    this.#seen = beats
    this.#silentMs = 0
    if (before >= STUCK_MS) this.#on.turning(before)
  }
}
