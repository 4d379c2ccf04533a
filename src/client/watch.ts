import * as z from 'zod'
import { CLOSE_CODES } from '../api/close-codes.ts'
import type { Kind } from '../api/records.ts'
import type { Connection, Ending } from './connection.ts'
import { WatchError } from './errors.ts'
import {
  type AgentEvent,
  areAll,
  type ChosenKind,
  type Kinds,
  kindsText,
  readText,
  wantedKinds,
} from './events.ts'
import { follow, type Next, type WatchState } from './follow.ts'
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
  const complete = ending.type === 'closed' && ending.code === CLOSE_CODES.run_ended
  if (opened && !complete) return 'later'
  // A browser does not say why a WebSocket was refused, and a proxy closes like a server: ask.
  const run = await runs.get(runId, { signal })
  if (run.isOk()) return complete && run.value.ended_at !== null ? 'end' : 'later'
  const { error } = run
  if (error.type !== 'refused' || error.status >= 500 || error.status === 429) return 'later'
  const type = error.code === 'run_not_found' ? 'unknown_run' : 'refused'
  throw new WatchError(type, error.message, cursor)
}

/** Why the server closed for good, if it did. From 4000 on the codes are its own. */
function finalError(
  { code, reason }: Extract<Ending, { type: 'closed' }>,
  lastWords: string | null,
  seq: number,
): WatchError | null {
  if (code === CLOSE_CODES.unknown_run)
    return new WatchError('unknown_run', lastWords ?? reason, seq)
  if (code >= 4000) return new WatchError('refused', lastWords ?? reason, seq)
  if (code === CLOSE_CODES.internal_error && lastWords !== null) {
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

/**
 * Turns the frames of one watch, over all its connections, into its events: each once, in order, and
 * of the kinds that are wanted.
 */
class EventReader<K extends Kind> {
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
