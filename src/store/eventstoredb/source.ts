import type { AllStreamSubscription, StreamSubscription } from '@eventstore/db-client'
import type { StoredEvent } from './events.ts'

/** A subscription of the client, before anything was read from it. */
export type ClientSubscription = StreamSubscription | AllStreamSubscription

/** What a subscription follows: one stream, or $all. `P` is a place in it. */
export type Source<P> = {
  /** For the log: what is followed. */
  readonly name: string
  /** Subscribes behind `after`; null is from the start. `passed` hears of places without events. */
  connect(after: P | null, passed: (place: P) => void): ClientSubscription
  placeOf(event: StoredEvent): P
  isBehind(place: P, other: P | null): boolean
  /**
   * The place which all that is stored now lies in front of or at; null where there is nothing to
   * wait for. Rejects when the server does not answer.
   * @param attempt how often it was asked before and not reached in time: then look more closely
   */
  head(attempt: number): Promise<P | null>
}
