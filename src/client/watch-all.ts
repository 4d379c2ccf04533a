import type { Kind, RunStatus } from '../api/records.ts'
import { queryOf } from './call.ts'
import {
  type AgentEvent,
  type ChosenKind,
  type Kinds,
  kindsText,
  type PartsOf,
  readText,
  wantedKinds,
} from './events.ts'
import { type Connection, type FollowOptions, follow, type Next } from './follow.ts'
import { refusalIn, type WatchDeps, type WatchErrorType } from './watch.ts'

/** Thrown by a watch of all runs that cannot continue, as `WatchError`. */
export class FeedError extends Error {
  override readonly name = 'FeedError'
  readonly type: Extract<WatchErrorType, 'refused' | 'not_understood'>
  /** The cursor of the last event that came, or the `after` of the watch. A watch with it as `after` resumes there. */
  readonly cursor: string | undefined

  constructor(type: FeedError['type'], message: string, cursor: string | undefined) {
    super(message)
    this.type = type
    this.cursor = cursor
  }
}

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
  { kinds, runIds, goal, status, meta, live, ...options }: FeedOptions<S, L>,
  { connect, runs, limits }: WatchDeps,
): AsyncGenerator<FeedEvent<ChosenKind<S>> | PartsOf<L>, void, undefined> {
  const { after, signal, onState, onCaughtUp } = options
  const wanted = wantedKinds(kinds)
  const query = {
    kinds: kindsText(wanted),
    run_id: runIds?.join(','),
    goal,
    status,
    meta,
    live,
    // It names the end of the log, even if the connection is lost before an event came.
    caught_up: true,
  }
  const reader = new FeedReader<ChosenKind<S>, L>(wanted, after, onCaughtUp)
  const judge = async ({ ending, opened }: Connection): Promise<Next> => {
    if (ending.type === 'closed' && ending.code >= 4000) {
      throw new FeedError('refused', reader.lastWords ?? ending.reason, reader.cursor)
    }
    if (opened) return 'later'
    // A browser does not report why a WebSocket was refused. This call needs the same permission.
    const refusal = refusalIn(await runs.list({ limit: 1 }, { signal }))
    if (refusal === null) return 'later'
    throw new FeedError('refused', refusal.message, reader.cursor)
  }
  const open = () => connect(`/api/ws${queryOf({ ...query, after: reader.cursor })}`)
  yield* follow({ open, reader, judge, signal, onState, limits })
}

/**
 * An event and its cursor among those of all runs. For a record that the server cannot read, an event of kind `error`
 * comes in its place, even if that kind was not requested.
 */
export type FeedEvent<K extends Kind = Kind> = (AgentEvent<K> | AgentEvent<'error'>) & {
  /** A watch of all runs resumes after it. It stays valid after a restart, and on other servers of the same log. */
  readonly cursor: string
}

/** Turns the frames of a watch of all runs, from all its connections, into events. */
class FeedReader<K extends Kind, L extends boolean | undefined> {
  readonly ended = false
  /** The watch resumes after it; undefined at the beginning of the log. */
  cursor: string | undefined
  /** What the server has said to a person before it closed. */
  lastWords: string | null = null
  readonly #wanted: ReadonlySet<Kind>
  readonly #onCaughtUp: FeedOptions['onCaughtUp']

  constructor(
    wanted: ReadonlySet<Kind>,
    after: string | undefined,
    onCaughtUp: FeedOptions['onCaughtUp'],
  ) {
    this.#wanted = wanted
    this.cursor = after
    this.#onCaughtUp = onCaughtUp
  }

  begin(): void {
    this.lastWords = null
  }

  /** @throws FeedError if the server may not send such a frame */
  *read(frames: readonly string[]): Generator<FeedEvent<K> | PartsOf<L>> {
    for (const text of frames) {
      const read = readText(text)
      if (read.isErr()) throw this.#fault(`something that is not an event: ${read.error}`)
      const { value } = read
      if (value.type === 'part') {
        // The server sends parts only if they were asked for.
        if (value.part !== null) yield value.part as PartsOf<L>
      } else if (value.type === 'caught_up') {
        this.#catchUp(value.place)
      } else if (value.type === 'refusal') {
        this.lastWords = value.message
      } else {
        const { cursor } = value
        if (cursor === undefined) throw this.#fault('a frame that has no cursor')
        this.cursor = cursor
        if (value.type === 'event' && this.#wants(value.event)) yield { ...value.event, cursor }
      }
    }
  }

  /** There may be no event with this cursor, and `end` becomes a cursor here. */
  #catchUp(place: number | string | null): void {
    const cursor = typeof place === 'string' ? place : null
    this.cursor = cursor ?? undefined
    this.#onCaughtUp?.(cursor)
  }

  #wants(event: AgentEvent): event is (AgentEvent<K> | AgentEvent<'error'>) & AgentEvent {
    return event.kind === 'error' || this.#wanted.has(event.kind)
  }

  #fault(what: string): FeedError {
    return new FeedError('not_understood', `The server sent ${what}.`, this.cursor)
  }
}
