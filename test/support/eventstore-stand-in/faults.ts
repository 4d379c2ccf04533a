import { setTimeout } from 'node:timers/promises'
import type { Wire } from './wire.ts'

/**
 * What happens to an append instead of an answer: `lose_answer` stores it and cuts all connections,
 * `stay_silent` stores it and never answers, `swallow` neither stores nor answers.
 * `drop` does not store it and answers `ABORTED`; `drop_stored` stores it and answers the same.
 */
export type AppendFault = 'lose_answer' | 'stay_silent' | 'swallow' | 'drop' | 'drop_stored'

/** The address of the leader. */
export type Leader = { readonly host: string; readonly port: number }

type Subscriber = { end(): void; fail(): void; fallBehind(): void }

/** The faults of the server. Everything can be changed while calls are under way. */
export class Faults {
  readonly #wire: Wire
  readonly #appends: AppendFault[] = []
  readonly #subscriptions = new Set<Subscriber>()
  /** How long each answer to a read or an append is delayed. */
  delayMs = 0
  /** How long an append takes from being written to being committed. Meanwhile, the same append is dropped. */
  commitMs = 0
  /** How long an append waits for its commit before it is dropped, as in a real server. */
  commitTimeoutMs = 2_000
  /** The nodes elect a leader: appends are received, but neither stored nor answered. */
  electing = false
  /** The node lives, accepts connections and knows no leader yet: calls that need one are refused. */
  leaderless = false
  /** Clients that look for the nodes of the cluster find none. */
  noGossip = false
  /** The user may not write streams whose names begin with this; null: may write all. */
  readOnly: string | null = null
  /** How often another node has become the leader in place of this one. */
  term = 0
  /** The other node that is the leader. Calls that need a leader are sent to it. */
  leader: Leader | null = null

  constructor(wire: Wire) {
    this.#wire = wire
  }

  /** Resets all connections. New ones are accepted at once. */
  cutConnections(): void {
    this.#wire.cut()
  }

  /** Resets all connections and refuses new ones until `up`. What is stored stays. */
  down(): Promise<void> {
    return this.#wire.close()
  }

  /**
   * Another node has become the leader: this one cuts what is not committed off its log, and exits. What was under way
   * is never stored or answered.
   */
  depose(): Promise<void> {
    this.term += 1
    return this.down()
  }

  /** Refuses new connections until `up`. Open ones stay. */
  refuseConnections(): void {
    this.#wire.refuse()
  }

  up(): Promise<void> {
    return this.#wire.open()
  }

  /** Until `thaw`, nothing passes over the connections, though they stay open. */
  freeze(): void {
    this.#wire.freeze()
  }

  thaw(): void {
    this.#wire.thaw()
  }

  /** The next `times` appends have this fault. */
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

  /** The server reports to all subscriptions that they fell behind, and then that they have caught up. */
  fallBehind(): void {
    for (const subscription of this.#subscriptions) subscription.fallBehind()
  }

  /** For the stand-in itself. */
  takeAppendFault(): AppendFault | undefined {
    return this.electing ? 'swallow' : this.#appends.shift()
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
