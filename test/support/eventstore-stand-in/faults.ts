import { setTimeout } from 'node:timers/promises'
import type { Wire } from './wire.ts'

/**
 * What happens to an append instead of an answer: `lose_answer` stores it and cuts all connections,
 * `stay_silent` stores it and never answers, `swallow` neither stores nor answers.
 * `drop` does not store it and answers `ABORTED`; `drop_stored` stores it and answers the same.
 */
export type AppendFault = 'lose_answer' | 'stay_silent' | 'swallow' | 'drop' | 'drop_stored'

/** A server that another node leads. */
export type Leader = { readonly host: string; readonly port: number }

type Subscriber = { end(): void; fail(): void; fallBehind(): void }

/** What goes wrong. Everything can be changed while calls are under way. */
export class Faults {
  readonly #wire: Wire
  readonly #appends: AppendFault[] = []
  readonly #subscriptions = new Set<Subscriber>()
  /** Every answer to a read or an append is held back for so long. */
  delayMs = 0
  /** Subscriptions to $all are not told where the server is in the log. */
  noCheckpoints = false
  /** Another node is the leader: calls that need one are sent there. */
  leader: Leader | null = null

  constructor(wire: Wire) {
    this.#wire = wire
  }

  /** Resets all connections; new ones are taken at once. */
  cutConnections(): void {
    this.#wire.cut()
  }

  /** Resets all connections and refuses new ones until `up`. What is stored stays. */
  down(): Promise<void> {
    return this.#wire.close()
  }

  /** Refuses new connections until `up`; those that are there stay. */
  refuseConnections(): void {
    this.#wire.refuse()
  }

  up(): Promise<void> {
    return this.#wire.open()
  }

  /** Nothing goes over the connections any more, though they stay open, until `thaw`. */
  freeze(): void {
    this.#wire.freeze()
  }

  thaw(): void {
    this.#wire.thaw()
  }

  /** The next `times` appends meet this. */
  nextAppends(fault: AppendFault, times = 1): void {
    this.#appends.push(...new Array<AppendFault>(times).fill(fault))
  }

  /** The server ends all subscriptions, without an error. */
  endSubscriptions(): void {
    for (const subscription of this.#subscriptions) subscription.end()
  }

  /** The server ends all subscriptions with an error, as one that shuts down does. */
  failSubscriptions(): void {
    for (const subscription of this.#subscriptions) subscription.fail()
  }

  /** The server tells all subscriptions that it has fallen behind, and then that it has caught up. */
  fallBehind(): void {
    for (const subscription of this.#subscriptions) subscription.fallBehind()
  }

  /** For the stand-in itself. */
  takeAppendFault(): AppendFault | undefined {
    return this.#appends.shift()
  }

  /** For the stand-in itself. */
  async delay(): Promise<void> {
    if (this.delayMs > 0) await setTimeout(this.delayMs)
  }

  /** For the stand-in itself. */
  register(subscription: Subscriber): () => void {
    this.#subscriptions.add(subscription)
    return () => this.#subscriptions.delete(subscription)
  }
}
