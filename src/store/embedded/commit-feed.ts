import { Signal } from '../../lib/signal.ts'
import type { RecordedEvent } from '../event-store.ts'

/** Delivers each commit, straight from memory, to the subscribers of its stream or of the whole log. */
export class CommitFeed {
  readonly #ofStream = new Map<string, Set<Inbox>>()
  readonly #ofAll = new Map<Inbox, string>()
  #closed = false

  hasListeners(stream: string): boolean {
    return this.#ofAll.size > 0 || this.#ofStream.has(stream)
  }

  /** @param size characters of the events' data and metadata, or more */
  publish(stream: string, events: readonly RecordedEvent[], size: number): void {
    for (const inbox of this.#ofStream.get(stream) ?? []) inbox.push(events, size)
    for (const [inbox, prefix] of this.#ofAll) {
      if (stream.startsWith(prefix)) inbox.push(events, size)
    }
  }

  joinStream(stream: string): Inbox {
    const inbox = this.#newInbox()
    const inboxes = this.#ofStream.get(stream)
    if (inboxes === undefined) this.#ofStream.set(stream, new Set([inbox]))
    else inboxes.add(inbox)
    return inbox
  }

  leaveStream(stream: string, inbox: Inbox): void {
    const inboxes = this.#ofStream.get(stream)
    inboxes?.delete(inbox)
    if (inboxes?.size === 0) this.#ofStream.delete(stream)
  }

  joinAll(prefix: string): Inbox {
    const inbox = this.#newInbox()
    this.#ofAll.set(inbox, prefix)
    return inbox
  }

  leaveAll(inbox: Inbox): void {
    this.#ofAll.delete(inbox)
  }

  /** Ends all subscriptions; later ones end at once. */
  close(): void {
    this.#closed = true
    for (const inboxes of this.#ofStream.values()) for (const inbox of inboxes) inbox.close()
    for (const inbox of this.#ofAll.keys()) inbox.close()
  }

  #newInbox(): Inbox {
    const inbox = new Inbox()
    if (this.#closed) inbox.close()
    return inbox
  }
}

/** The most that is kept for a subscriber that does not keep up: events, and their characters. */
const MAX_EVENTS = 2048
const MAX_SIZE = 4_000_000

/** What was committed since a subscriber last looked. When an inbox overflows, it is emptied. */
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

  /** Starts again, for a subscriber that reads from the file what it has missed. */
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
