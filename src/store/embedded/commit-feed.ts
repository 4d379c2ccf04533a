import type { RecordedEvent } from '../event-store.ts'
import { Inbox } from './inbox.ts'

/** Hands each commit, straight from memory, to those who follow its stream or the whole log. */
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

  /** Ends all subscriptions; who joins later ends at once. */
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
