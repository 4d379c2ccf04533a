import type { RunStatus } from '../domain/state.ts'
import type { Connection } from './connection.ts'
import { FeedError } from './errors.ts'
import type { ChosenKind, Kinds } from './events.ts'
import { type FeedEvent, FeedReader } from './feed-reader.ts'
import { follow, type Next, type WatchState } from './follow.ts'
import { kindsText, wantedKinds } from './kinds.ts'
import { queryOf } from './paging.ts'
import type { WatchDeps } from './watch.ts'

export type { FeedEvent } from './feed-reader.ts'

export type FeedOptions<S extends Kinds | undefined = Kinds | undefined> = {
  /** Only what is behind this cursor; `end` is only what happens from now on. Without it: all. */
  readonly after?: string | undefined
  readonly kinds?: S
  /** Only these runs. */
  readonly runIds?: readonly string[] | undefined
  /** Only runs with this goal. */
  readonly goal?: string | undefined
  /** Only records with which, or during which, their run had this status. */
  readonly status?: RunStatus | undefined
  /** Whether each event is to hold `id` and `meta`, what is kept beside its record. */
  readonly meta?: boolean | undefined
  /** Ends the watch: the iteration rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined
  readonly onState?: ((state: WatchState) => void) | undefined
  /**
   * Called once all that was stored has been handed on, with the cursor of the last record of the log; null
   * where there is none. After a lost connection it is called again.
   */
  readonly onCaughtUp?: ((cursor: string | null) => void) | undefined
}

/** The events of all runs, whatever happens to the connection. @throws FeedError */
export async function* watchAll<const S extends Kinds | undefined>(
  options: FeedOptions<S>,
  { connect, runs, limits }: WatchDeps,
): AsyncGenerator<FeedEvent<ChosenKind<S>>, void, undefined> {
  const { after, signal, onState, onCaughtUp } = options
  const reader = new FeedReader<ChosenKind<S>>(wantedKinds(options.kinds), after, onCaughtUp)
  const ask = async (connection: Connection): Promise<Next> => {
    const { ending, opened } = connection
    if (ending.type === 'closed' && ending.code >= 4000) {
      throw new FeedError('refused', reader.lastWords ?? ending.reason, reader.cursor)
    }
    if (opened) return 'later'
    // A browser does not say why a WebSocket was refused: ask for what needs the same permission.
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

const wantedOf = ({ kinds, runIds, goal, status, meta }: FeedOptions) => ({
  kinds: kindsText(wantedKinds(kinds)),
  run_id: runIds?.join(','),
  goal,
  status,
  meta: meta === true ? 'true' : undefined,
  // Without it, where the end was would not be known after a connection that brought nothing.
  caught_up: 'true',
})
