import type { Kind } from '../api/records.ts'
import { type AgentEvent, areAll, type PartsOf, type Read, readText } from './events.ts'

type Options = {
  readonly wanted: ReadonlySet<Kind>
  /** The seq after which events are wanted. */
  readonly after: number
  readonly onCaughtUp?: ((seq: number) => void) | undefined
  /** The error for a frame that a server may not send. @param what such as "a frame of no run" */
  readonly fault: (what: string, seq: number) => Error
}

/** Turns the frames of one run, over all connections, into events: each once, in order, of the wanted kinds. */
export class RunReader<K extends Kind, L extends boolean | undefined = undefined> {
  /** All events up to this seq have been delivered, if they were wanted. */
  cursor: number
  /** Whether the run has ended. */
  ended = false
  readonly #options: Options
  /** An event of kind `error`. Until the next frame comes, it may be the server's last message instead. */
  #held: AgentEvent | null = null

  constructor(options: Options) {
    this.#options = options
    this.cursor = options.after
  }

  /**
   * The server's message to a person before it closed, if there was one. It comes as a frame that looks like an
   * `error` event. A real `error` event of a watch is always followed by another frame.
   */
  get lastWords(): string | null {
    return this.#held?.kind === 'error' ? this.#held.payload.message : null
  }

  /** To be called for a new connection: the event that was held back comes again. */
  begin(): void {
    this.#held = null
  }

  /** @throws what `fault` makes, if the server may not send such a frame */
  *read(frames: readonly string[]): Generator<AgentEvent<K> | PartsOf<L>> {
    for (const text of frames) {
      const read = readText(text)
      if (read.isErr()) throw this.#fault(`something that is not an event: ${read.error}`)
      yield* this.end()
      yield* this.#take(read.value)
    }
  }

  /** The event that was held back, once no message of the server can follow. */
  *end(): Generator<AgentEvent<K>> {
    const held = this.#held
    this.#held = null
    if (held !== null) yield* this.#deliver(held)
  }

  *#take(read: Read): Generator<AgentEvent<K> | PartsOf<L>> {
    if (read.type === 'part') {
      // The server sends parts only if they were asked for.
      if (read.part !== null) yield read.part as PartsOf<L>
    } else if (read.type === 'caught_up') {
      // Records that are not wanted may follow the last one that was sent.
      const seq = Number(read.place)
      this.cursor = Math.max(this.cursor, seq)
      this.#options.onCaughtUp?.(seq)
    } else if (read.type === 'refusal') {
      throw this.#fault('an event of no run')
    } else if (read.type === 'unknown_kind') {
      this.#advance(read.seq)
    } else if (read.event.kind === 'error') {
      this.#held = read.event
    } else {
      yield* this.#deliver(read.event)
    }
  }

  *#deliver(event: AgentEvent): Generator<AgentEvent<K>> {
    this.#advance(event.seq)
    if (event.kind === 'run_end') this.ended = true
    if (this.#wants(event)) yield event
  }

  #wants(event: AgentEvent): event is AgentEvent<K> & AgentEvent {
    return this.#options.wanted.has(event.kind)
  }

  #advance(seq: number): void {
    const right = areAll(this.#options.wanted) ? seq === this.cursor + 1 : seq > this.cursor
    if (!right) throw this.#fault(`the event ${seq} after the event ${this.cursor}`)
    this.cursor = seq
  }

  #fault(what: string): Error {
    return this.#options.fault(what, this.cursor)
  }
}
