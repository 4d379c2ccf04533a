import { Signal } from '../../lib/signal.ts'
import type { RecordedEvent } from '../event-store.ts'

/** The most that is kept for a subscriber that does not keep up: events, and characters of them. */
const MAX_EVENTS = 2048
const MAX_SIZE = 4_000_000

/** What was committed since a subscriber last looked. One that overflows is emptied, and says so. */
export class Inbox {
  #events: RecordedEvent[] = []
  #size = 0
  #overflowed = false
  #closed = false
  readonly #news = new Signal()

  get overflowed(): boolean {
    return this.#overflowed
  }

  get closed(): boolean {
    return this.#closed
  }

  push(events: readonly RecordedEvent[], size: number): void {
    if (this.#overflowed || this.#closed) return
    this.#size += size
    if (this.#events.length + events.length > MAX_EVENTS || this.#size > MAX_SIZE) {
      this.#overflowed = true
      this.#events = []
    } else {
      for (const event of events) this.#events.push(event)
    }
    this.#news.notify()
  }

  take(): readonly RecordedEvent[] {
    const events = this.#events
    this.#events = []
    this.#size = 0
    return events
  }

  /** Resolves when there is something new: events, an overflow, the end. */
  changed(signal: AbortSignal): Promise<void> {
    if (this.#events.length > 0 || this.#overflowed || this.#closed) return Promise.resolve()
    return this.#news.wait(signal)
  }

  /** Begins anew, for a subscriber that reads from the file what it has missed. */
  reset(): void {
    this.take()
    this.#overflowed = false
  }

  close(): void {
    this.#closed = true
    this.#events = []
    this.#news.notify()
  }
}
