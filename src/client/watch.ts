import * as z from 'zod'
import type { Kind } from '../domain/records.ts'
import type { Connection, Ending } from './connection.ts'
import { WatchError } from './errors.ts'
import { EventReader } from './event-reader.ts'
import type { AgentEvent, ChosenKind, Kinds } from './events.ts'
import { follow, type Next, type WatchState } from './follow.ts'
import { kindsText, wantedKinds } from './kinds.ts'
import type { ClientLimits } from './limits.ts'
import type { Runs } from './runs.ts'

export type WatchOptions<S extends Kinds | undefined = Kinds | undefined> = {
  /** Only what is behind this seq; -1, which is the default, is all. */
  readonly after?: number | undefined
  readonly kinds?: S
  /** Whether each event is to hold `id` and `meta`, what is kept beside its record. */
  readonly meta?: boolean | undefined
  /** Ends the watch: the iteration rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined
  readonly onState?: ((state: WatchState) => void) | undefined
  /**
   * Called once all that was stored has been handed on, with the seq of its last record: what comes
   * behind it is live. After a lost connection it is called again.
   */
  readonly onCaughtUp?: ((seq: number) => void) | undefined
}

export type WatchDeps = {
  /** Opens a WebSocket at a path of the server. */
  readonly connect: (path: string) => WebSocket
  readonly runs: Pick<Runs, 'get' | 'list'>
  readonly limits: ClientLimits
}

/**
 * The events of a run: its history behind `after`, then what happens, until the run has ended. Each
 * comes once and in order, whatever happens to the connection, which is made again until `signal`
 * aborts. It is opened with the first step of the iteration and closed when that is left.
 * @throws WatchError when there is no way to go on
 */
export async function* watch<const S extends Kinds | undefined>(
  runId: string,
  { after = -1, kinds, meta = false, signal, onState, onCaughtUp }: WatchOptions<S>,
  { connect, runs, limits }: WatchDeps,
): AsyncGenerator<AgentEvent<ChosenKind<S>>, void, undefined> {
  const wanted = wantedKinds(kinds)
  const reader = new EventReader<ChosenKind<S>>(wanted, after, onCaughtUp)
  const address = addressOf(runId, wanted, { meta, caughtUp: onCaughtUp !== undefined })
  if (!z.uuid().safeParse(runId).success) {
    throw new WatchError('unknown_run', `"${runId}" is not a run id.`, after)
  }
  yield* follow({
    open: () => connect(`${address}&after=${reader.cursor}`),
    reader,
    judge: (connection) => judge(connection, reader, runId, { runs, signal }),
    ...{ signal, onState, limits },
  })
}

type Judges = { readonly runs: Pick<Runs, 'get'>; readonly signal: AbortSignal | undefined }

async function judge(
  { ending, opened }: Connection,
  { lastWords, cursor }: EventReader<Kind>,
  runId: string,
  { runs, signal }: Judges,
): Promise<Next> {
  const final = ending.type === 'closed' ? finalError(ending, lastWords, cursor) : null
  if (final !== null) throw final
  const complete = ending.type === 'closed' && ending.code === NORMAL
  if (opened && !complete) return 'later'
  // A browser does not say why a WebSocket was refused, and a proxy closes like a server: ask.
  const run = await runs.get(runId, { signal })
  if (run.isOk()) return complete && run.value.ended_at !== null ? 'end' : 'later'
  const { error } = run
  if (error.type !== 'refused' || error.status >= 500 || error.status === 429) return 'later'
  const type = error.code === 'run_not_found' ? 'unknown_run' : 'refused'
  throw new WatchError(type, error.message, cursor)
}

const NORMAL = 1000
const INTERNAL_ERROR = 1011
const UNKNOWN_RUN = 4404

/** Why the server closed for good, if it did. From 4000 on the codes are its own. */
function finalError(
  { code, reason }: Extract<Ending, { type: 'closed' }>,
  lastWords: string | null,
  seq: number,
): WatchError | null {
  if (code === UNKNOWN_RUN) return new WatchError('unknown_run', lastWords ?? reason, seq)
  if (code >= 4000) return new WatchError('refused', lastWords ?? reason, seq)
  if (code === INTERNAL_ERROR && lastWords !== null) {
    return new WatchError('damaged_record', lastWords, seq)
  }
  return null
}

function addressOf(
  runId: string,
  wanted: ReadonlySet<Kind>,
  { meta, caughtUp }: { readonly meta: boolean; readonly caughtUp: boolean },
): string {
  // The end is always asked for: it tells a run that is over from a connection that is.
  const kinds = kindsText(new Set<Kind>([...wanted, 'run_end']))
  const more = `${meta ? '&meta=true' : ''}${caughtUp ? '&caught_up=true' : ''}`
  return `/api/ws/${encodeURIComponent(runId)}?kinds=${kinds}${more}`
}
