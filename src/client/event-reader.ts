import type { Kind } from '../domain/records.ts'
import { WatchError } from './errors.ts'
import { type AgentEvent, readText } from './events.ts'
import { areAll } from './kinds.ts'

/**
 * Turns the frames of one watch, over all its connections, into its events: each once, in order, and
 * of the kinds that are wanted.
 */
export class EventReader<K extends Kind> {
  readonly #wanted: ReadonlySet<Kind>
  readonly #onCaughtUp: ((seq: number) => void) | undefined
  /** An event of kind `error` whose next frame has not come yet, and which may be none therefore. */
  #held: AgentEvent | null = null
  #cursor: number
  #ended = false

  /** @param onCaughtUp called where all that was stored has been read, with the seq of its last record */
  constructor(
    wanted: ReadonlySet<Kind>,
    after: number,
    onCaughtUp: ((seq: number) => void) | undefined,
  ) {
    this.#wanted = wanted
    this.#cursor = after
    this.#onCaughtUp = onCaughtUp
  }

  /** The seq behind which the run goes on: all up to it has been handed on, if it was wanted. */
  get cursor(): number {
    return this.#cursor
  }

  /** Whether the run has ended. */
  get ended(): boolean {
    return this.#ended
  }

  /**
   * What the server said for a person before it closed, if it did. It says so in a frame that looks
   * like an `error` event. A real one is never the last of a run, so the frame behind tells.
   */
  get lastWords(): string | null {
    return this.#held?.kind === 'error' ? this.#held.payload.message : null
  }

  /** To be called for a new connection: what was held back comes again. */
  begin(): void {
    this.#held = null
  }

  /** @throws WatchError where a frame is not what the server may send */
  *read(frames: readonly string[]): Generator<AgentEvent<K>> {
    for (const text of frames) {
      const read = readText(text)
      if (read.isErr()) throw this.#fault(`sent what is no event: ${read.error}`)
      if (this.#held !== null) {
        const event = this.#held
        this.#held = null
        this.#advance(event.seq)
        if (this.#wants(event)) yield event
      }
      if (read.value.type !== 'event') {
        const { type, seq } = read.value
        if (type === 'caught_up') this.#catchUp(seq)
        else this.#advance(seq)
        continue
      }
      const { event } = read.value
      if (event.kind === 'error') {
        this.#held = event
        continue
      }
      this.#advance(event.seq)
      if (event.kind === 'run_end') this.#ended = true
      if (this.#wants(event)) yield event
    }
  }

  #wants(event: AgentEvent): event is AgentEvent<K> & AgentEvent {
    return this.#wanted.has(event.kind)
  }

  /** Records that are not wanted may stand behind the last one that was sent. */
  #catchUp(seq: number): void {
    this.#cursor = Math.max(this.#cursor, seq)
    this.#onCaughtUp?.(seq)
  }

  #advance(seq: number): void {
    const right = areAll(this.#wanted) ? seq === this.#cursor + 1 : seq > this.#cursor
    if (!right || this.#ended) throw this.#fault(`sent the event ${seq} behind ${this.#cursor}`)
    this.#cursor = seq
  }

  #fault(what: string): WatchError {
    return new WatchError('not_understood', `The server ${what}.`, this.#cursor)
  }
}
