import * as z from 'zod'
import type { Kind } from '../domain/records.ts'
import { FeedError } from './errors.ts'
import { type AgentEvent, asAltered, isAltered, parseFrame, readFrame } from './events.ts'

/**
 * An event and its place among those of all runs. In the place of a record that the server cannot read
 * there is an event of kind `error` that says so, whatever kinds are asked for.
 */
export type FeedEvent<K extends Kind = Kind> = (AgentEvent<K> | AgentEvent<'error'>) & {
  /** What a watch of all runs goes on behind; it stays good across restarts and servers. */
  readonly cursor: string
}

const Placed = z.looseObject({ cursor: z.string() })
const CaughtUp = z.object({ kind: z.literal('caught_up'), cursor: z.string().nullable() })
/** What the server says to a person before it closes; it has no cursor. */
const LastWords = z.object({
  kind: z.literal('error'),
  payload: z.object({ message: z.string() }),
})

/** Turns the frames of a watch of all runs, over all its connections, into its events. */
export class FeedReader<K extends Kind> {
  readonly ended = false
  readonly #wanted: ReadonlySet<Kind>
  readonly #onCaughtUp: ((cursor: string | null) => void) | undefined
  #cursor: string | undefined
  #lastWords: string | null = null

  constructor(
    wanted: ReadonlySet<Kind>,
    after: string | undefined,
    onCaughtUp: ((cursor: string | null) => void) | undefined,
  ) {
    this.#wanted = wanted
    this.#cursor = after
    this.#onCaughtUp = onCaughtUp
  }

  /** Where the feed goes on; undefined for its beginning. */
  get cursor(): string | undefined {
    return this.#cursor
  }

  get lastWords(): string | null {
    return this.#lastWords
  }

  begin(): void {
    this.#lastWords = null
  }

  /** @throws FeedError where a frame is not what the server may send */
  *read(frames: readonly string[]): Generator<FeedEvent<K>> {
    for (const text of frames) {
      const frame = parseFrame(text)
      const caughtUp = CaughtUp.safeParse(frame)
      if (caughtUp.success) {
        // Nothing wanted may have come so far; and what was the end has become a place.
        this.#cursor = caughtUp.data.cursor ?? undefined
        this.#onCaughtUp?.(caughtUp.data.cursor)
        continue
      }
      const event = this.#event(frame, isAltered(frame, text))
      if (event !== null) yield event
    }
  }

  /** Null for a record of a newer server, and for what the server says to a person. */
  #event(frame: unknown, altered: boolean): FeedEvent<K> | null {
    const placed = Placed.safeParse(frame)
    if (!placed.success) {
      const said = LastWords.safeParse(frame)
      if (!said.success) throw this.#fault('a frame that has no cursor')
      this.#lastWords = said.data.payload.message
      return null
    }
    const { cursor, ...rest } = placed.data
    const read = readFrame(rest).map((each) => (altered ? asAltered(each) : each))
    if (read.isErr()) throw this.#fault(`what is no event: ${read.error}`)
    this.#cursor = cursor
    if (read.value.type !== 'event') return null
    const { event } = read.value
    return this.#wants(event) ? { ...event, cursor } : null
  }

  #wants(event: AgentEvent): event is (AgentEvent<K> | AgentEvent<'error'>) & AgentEvent {
    return event.kind === 'error' || this.#wanted.has(event.kind)
  }

  #fault(what: string): FeedError {
    return new FeedError('not_understood', `The server sent ${what}.`, this.#cursor)
  }
}
