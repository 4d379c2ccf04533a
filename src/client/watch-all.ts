import * as z from 'zod'
import { FeedCaughtUp, Refusal } from '../api/frames.ts'
import type { Kind, RunStatus } from '../api/records.ts'
import { jsonOr } from '../lib/json-or.ts'
import { queryOf } from './call.ts'
import { FeedError } from './errors.ts'
import {
  type AgentEvent,
  asAltered,
  type ChosenKind,
  isAltered,
  type Kinds,
  kindsText,
  readFrame,
  wantedKinds,
} from './events.ts'
import { type Connection, type FollowOptions, follow, type Next } from './follow.ts'
import { type PartsOf, readPart } from './live-parts.ts'
import type { WatchDeps } from './watch.ts'

export type FeedOptions<
  S extends Kinds | undefined = Kinds | undefined,
  L extends boolean | undefined = undefined,
> = FollowOptions<S, L> & {
  /** Only events after this cursor; with `end`, only live events. The default is all. */
  readonly after?: string | undefined
  /** Only these runs. */
  readonly runIds?: readonly string[] | undefined
  /** Only runs with this goal. */
  readonly goal?: string | undefined
  /** Only records after which the run had this status. */
  readonly status?: RunStatus | undefined
  /**
   * Called when all stored events have been delivered, with the cursor of the last record of the log; null if the log
   * has no record. After a lost connection it is called again.
   */
  readonly onCaughtUp?: ((cursor: string | null) => void) | undefined
}

/** The events of all runs. A lost connection is opened again. @throws FeedError */
export async function* watchAll<
  const S extends Kinds | undefined,
  L extends boolean | undefined = undefined,
>(
  options: FeedOptions<S, L>,
  { connect, runs, limits }: WatchDeps,
): AsyncGenerator<FeedEvent<ChosenKind<S>> | PartsOf<L>, void, undefined> {
  const { after, signal, onState, onCaughtUp } = options
  const reader = new FeedReader<ChosenKind<S>, L>(wantedKinds(options.kinds), after, onCaughtUp)
  const ask = async (connection: Connection): Promise<Next> => {
    const { ending, opened } = connection
    if (ending.type === 'closed' && ending.code >= 4000) {
      throw new FeedError('refused', reader.lastWords ?? ending.reason, reader.cursor)
    }
    if (opened) return 'later'
    // A browser does not report why a WebSocket was refused. This call needs the same permission.
    const page = await runs.list({ limit: 1 }, { signal })
    if (page.isOk()) return 'later'
    const { error } = page
    if (error.type !== 'refused' || error.status >= 500 || error.status === 429) return 'later'
    throw new FeedError('refused', error.message, reader.cursor)
  }
  yield* follow({
    open: () => connect(`/api/ws${queryOf({ ...wantedOf(options), after: reader.cursor })}`),
    reader,
    judge: ask,
    ...{ signal, onState, limits },
  })
}

const wantedOf = ({
  kinds,
  runIds,
  goal,
  status,
  meta,
  live,
}: FeedOptions<Kinds | undefined, boolean | undefined>) => ({
  kinds: kindsText(wantedKinds(kinds)),
  run_id: runIds?.join(','),
  goal,
  status,
  meta: meta === true ? 'true' : undefined,
  live: live === true ? 'true' : undefined,
  // It names the end of the log, even if the connection is lost before an event came.
  caught_up: 'true',
})

/**
 * An event and its cursor among those of all runs. For a record that the server cannot read, an event of kind `error`
 * comes in its place, even if that kind was not requested.
 */
export type FeedEvent<K extends Kind = Kind> = (AgentEvent<K> | AgentEvent<'error'>) & {
  /** A watch of all runs resumes after it. It stays valid after a restart, and on other servers of the same log. */
  readonly cursor: string
}

const Placed = z.looseObject({ cursor: z.string() })

/** Turns the frames of a watch of all runs, from all its connections, into events. */
class FeedReader<K extends Kind, L extends boolean | undefined> {
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

  /** The watch resumes after it; undefined at the beginning of the log. */
  get cursor(): string | undefined {
    return this.#cursor
  }

  get lastWords(): string | null {
    return this.#lastWords
  }

  begin(): void {
    this.#lastWords = null
  }

  /** @throws FeedError if the server may not send such a frame */
  *read(frames: readonly string[]): Generator<FeedEvent<K> | PartsOf<L>> {
    for (const text of frames) {
      const frame = jsonOr(text, undefined)
      const caughtUp = FeedCaughtUp.safeParse(frame)
      if (caughtUp.success) {
        // There may be no event with this cursor, and `end` becomes a cursor here.
        this.#cursor = caughtUp.data.cursor ?? undefined
        this.#onCaughtUp?.(caughtUp.data.cursor)
        continue
      }
      const part = readPart(frame)
      if (part !== undefined) {
        if (part !== null) yield part as PartsOf<L>
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
      const said = Refusal.safeParse(frame)
      if (!said.success) throw this.#fault('a frame that has no cursor')
      this.#lastWords = said.data.payload.message
      return null
    }
    const { cursor, ...rest } = placed.data
    const read = readFrame(rest).map((each) => (altered ? asAltered(each) : each))
    if (read.isErr()) throw this.#fault(`something that is not an event: ${read.error}`)
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
