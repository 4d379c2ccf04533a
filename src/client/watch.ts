import type { Result } from 'neverthrow'
import * as z from 'zod'
import { CLOSE_CODES } from '../api/frames.ts'
import type { Kind } from '../api/records.ts'
import { type ClientLimits, queryOf, type RequestError } from './call.ts'
import {
  type AgentEvent,
  type ChosenKind,
  type Kinds,
  kindsText,
  type PartsOf,
  wantedKinds,
} from './events.ts'
import { type Connection, type Ending, type FollowOptions, follow, type Next } from './follow.ts'
import { RunReader } from './run-reader.ts'
import type { Runs } from './runs.ts'

/**
 * Why a watch ends, because connecting again would not help: `unknown_run`; `refused` (the token or the query is not
 * valid); `damaged_record` (the server cannot read a record); `not_understood` (no retrAI server sends such a frame).
 */
export type WatchErrorType = 'unknown_run' | 'refused' | 'damaged_record' | 'not_understood'

/** Thrown by a watch that cannot continue. It is not thrown for a lost connection: the watch connects again. */
export class WatchError extends Error {
  override readonly name = 'WatchError'
  readonly type: WatchErrorType
  /** seq of the last event that came: a watch with it as `after` resumes there. */
  readonly seq: number

  constructor(type: WatchErrorType, message: string, seq: number) {
    super(message)
    this.type = type
    this.seq = seq
  }
}

export type WatchOptions<
  S extends Kinds | undefined = Kinds | undefined,
  L extends boolean | undefined = undefined,
> = FollowOptions<S, L> & {
  /** Only events after this seq. The default is -1: all. */
  readonly after?: number | undefined
  /**
   * Called when all stored events have been delivered, with the seq of the last record: later events are live. After
   * a lost connection it is called again.
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
 * The events of a run: its history after `after`, then live events, until the run has ended. Each event comes once
 * and in order. A lost connection is opened again until `signal` aborts. The first step of the iteration opens the
 * connection, and its end closes it.
 * @throws WatchError if the watch cannot continue
 */
export async function* watch<
  const S extends Kinds | undefined,
  L extends boolean | undefined = undefined,
>(
  runId: string,
  { after = -1, kinds, meta, live, signal, onState, onCaughtUp }: WatchOptions<S, L>,
  { connect, runs, limits }: WatchDeps,
): AsyncGenerator<AgentEvent<ChosenKind<S>> | PartsOf<L>, void, undefined> {
  const wanted = wantedKinds(kinds)
  const reader = new RunReader<ChosenKind<S>, L>({
    wanted,
    after,
    onCaughtUp,
    fault: (what, seq) => new WatchError('not_understood', `The server sent ${what}.`, seq),
  })
  const query = {
    // run_end is always requested: it shows that the run has ended, and not only the connection.
    kinds: kindsText(new Set<Kind>([...wanted, 'run_end'])),
    meta,
    live,
    caught_up: onCaughtUp !== undefined,
  }
  if (!z.uuid().safeParse(runId).success) {
    throw new WatchError('unknown_run', `"${runId}" is not a run id.`, after)
  }
  const judge = async ({ ending, opened }: Connection): Promise<Next> => {
    const { lastWords, cursor } = reader
    const final = ending.type === 'closed' ? finalError(ending, lastWords, cursor) : null
    if (final !== null) throw final
    const complete = ending.type === 'closed' && ending.code === CLOSE_CODES.run_ended
    if (opened && !complete) return 'later'
    // A browser does not report why a WebSocket was refused, and a proxy closes like a server, so REST is asked.
    const run = await runs.get(runId, { signal })
    if (run.isOk()) return complete && run.value.ended_at !== null ? 'end' : 'later'
    const refusal = refusalIn(run)
    if (refusal === null) return 'later'
    const type = refusal.code === 'run_not_found' ? 'unknown_run' : 'refused'
    throw new WatchError(type, refusal.message, cursor)
  }
  const path = `/api/ws/${encodeURIComponent(runId)}`
  const open = () => connect(`${path}${queryOf({ ...query, after: reader.cursor })}`)
  yield* follow({ open, reader, judge, signal, onState, limits })
}

/** Why the server refuses a call; null if it does not, or if it may accept the same call later. */
export function refusalIn(
  answer: Result<unknown, RequestError>,
): Extract<RequestError, { type: 'refused' }> | null {
  if (answer.isOk() || answer.error.type !== 'refused') return null
  const { status } = answer.error
  return status >= 500 || status === 429 ? null : answer.error
}

/** The error that the server closed with; null if connecting again may help. */
function finalError(
  { code, reason }: Extract<Ending, { type: 'closed' }>,
  lastWords: string | null,
  seq: number,
): WatchError | null {
  if (code >= 4000) {
    const type = code === CLOSE_CODES.unknown_run ? 'unknown_run' : 'refused'
    return new WatchError(type, lastWords ?? reason, seq)
  }
  return code === CLOSE_CODES.internal_error && lastWords !== null
    ? new WatchError('damaged_record', lastWords, seq)
    : null
}
