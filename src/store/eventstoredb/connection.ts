import type { ResolvedEvent } from '@eventstore/db-client'
import type { Signal } from '../../lib/signal.ts'
import type { StoredEvent } from './events.ts'
import type { ClientSubscription, Source } from './source.ts'

/** Events that the client reads ahead; then it lets the server wait. */
export const READ_AHEAD = 128

const ignore = (): void => {}

/**
 * One subscription of the client, until it drops. It is pulled from: what is not taken stays in the
 * stream's buffer, and when that is full, with the server.
 */
export class Connection<P> {
  readonly #source: Source<P>
  readonly #subscription: ClientSubscription
  readonly #passed: { readonly place: P; readonly behind: number }[] = []
  #taken = 0
  #fellBehind = false
  #end: { readonly cause: unknown } | null = null

  /** @param news notified whenever there is something new to look at */
  constructor(source: Source<P>, after: P | null, news: Signal) {
    this.#source = source
    this.#subscription = source.connect(after, (place) => {
      // Events in front of this place may still be in the buffer.
      this.#passed.push({ place, behind: this.#taken + this.#subscription.readableLength })
      news.notify()
    })
    const ended = (cause: unknown) => this.#ended(cause, news)
    this.#subscription.on('error', ended)
    this.#subscription.on('end', () => ended(new Error('the server ended the subscription')))
    this.#subscription.on('close', () => ended(new Error('the subscription was closed')))
    this.#subscription.on('readable', () => news.notify())
    this.#subscription.on('fellBehind', () => {
      this.#fellBehind = true
      news.notify()
    })
  }

  /** Why the subscription dropped, once it has and all that came before was taken. */
  get end(): { readonly cause: unknown } | null {
    return this.#subscription.readableLength === 0 ? this.#end : null
  }

  /** Whether the server has said, since the last question, that it sends history again. */
  fellBehind(): boolean {
    const fell = this.#fellBehind
    this.#fellBehind = false
    return fell
  }

  /** What has arrived, oldest first. */
  takeEvents(): StoredEvent[] {
    const events: StoredEvent[] = []
    while (events.length < READ_AHEAD) {
      const resolved: ResolvedEvent | null = this.#subscription.read()
      if (resolved === null) break
      this.#taken += 1
      if (resolved.event !== undefined) events.push(resolved.event)
    }
    return events
  }

  /** The last place that the server has passed and all events in front of which are taken. */
  takePassed(): P | null {
    let last: P | null = null
    while (this.#passed[0] !== undefined && this.#passed[0].behind <= this.#taken) {
      const place = this.#passed.shift()?.place ?? null
      if (place !== null && this.#source.isBehind(place, last)) last = place
    }
    return last
  }

  close(): void {
    this.#subscription.unsubscribe().catch(ignore)
    // Whatever is still on its way is thrown away. The error listener stays: errors may come late.
    this.#subscription.removeAllListeners('readable').resume()
  }

  #ended(cause: unknown, news: Signal): void {
    this.#end ??= { cause }
    news.notify()
  }
}
