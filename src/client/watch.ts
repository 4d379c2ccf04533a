import { ok } from 'neverthrow'
import * as z from 'zod'
import { CLOSE_CODES } from '../api/close-codes.ts'
import type { Kind } from '../api/records.ts'
import { jsonOr } from '../lib/json-or.ts'
import { WatchError } from './errors.ts'
import {
  type AgentEvent,
  areAll,
  type ChosenKind,
  type Kinds,
  kindsText,
  readValue,
  wantedKinds,
} from './events.ts'
import { type Connection, type Ending, type FollowOptions, follow, type Next } from './follow.ts'
import type { ClientLimits } from './limits.ts'
import { type PartsOf, readPart } from './live-parts.ts'
import type { Runs } from './runs.ts'

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
  { after = -1, kinds, meta = false, live, signal, onState, onCaughtUp }: WatchOptions<S, L>,
  { connect, runs, limits }: WatchDeps,
): AsyncGenerator<AgentEvent<ChosenKind<S>> | PartsOf<L>, void, undefined> {
  const wanted = wantedKinds(kinds)
  const reader = new EventReader<ChosenKind<S>, L>(wanted, after, onCaughtUp)
  const asked = { meta, live: live === true, caughtUp: onCaughtUp !== undefined }
  const address = addressOf(runId, wanted, asked)
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
  { lastWords, cursor }: EventReader<Kind, boolean | undefined>,
  runId: string,
  { runs, signal }: Judges,
): Promise<Next> {
  const final = ending.type === 'closed' ? finalError(ending, lastWords, cursor) : null
  if (final !== null) throw final
  const complete = ending.type === 'closed' && ending.code === CLOSE_CODES.run_ended
  if (opened && !complete) return 'later'
  // A browser does not report why a WebSocket was refused, and a proxy closes like a server, so REST is asked.
  const run = await runs.get(runId, { signal })
  if (run.isOk()) return complete && run.value.ended_at !== null ? 'end' : 'later'
  const { error } = run
  if (error.type !== 'refused' || error.status >= 500 || error.status === 429) return 'later'
  const type = error.code === 'run_not_found' ? 'unknown_run' : 'refused'
  throw new WatchError(type, error.message, cursor)
}

/** The error that the server closed with; null if connecting again may help. */
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
  asked: { readonly meta: boolean; readonly live: boolean; readonly caughtUp: boolean },
): string {
  // run_end is always requested: it shows that the run has ended, and not only the connection.
  const kinds = kindsText(new Set<Kind>([...wanted, 'run_end']))
  const { meta, live, caughtUp } = asked
  const more = `${meta ? '&meta=true' : ''}${live ? '&live=true' : ''}${caughtUp ? '&caught_up=true' : ''}`
  return `/api/ws/${encodeURIComponent(runId)}?kinds=${kinds}${more}`
}

/** Turns the frames of one watch, from all its connections, into events: each once, in order, of the wanted kinds. */
class EventReader<K extends Kind, L extends boolean | undefined> {
  readonly #wanted: ReadonlySet<Kind>
  readonly #onCaughtUp: ((seq: number) => void) | undefined
  /** An event of kind `error`. Until the next frame comes, it may be the server's last message instead. */
  #held: AgentEvent | null = null
  #cursor: number
  #ended = false

  /** @param onCaughtUp is called when all stored events have been read, with the seq of the last record */
  constructor(
    wanted: ReadonlySet<Kind>,
    after: number,
    onCaughtUp: ((seq: number) => void) | undefined,
  ) {
    this.#wanted = wanted
    this.#cursor = after
    this.#onCaughtUp = onCaughtUp
  }

  /** All events up to this seq have been delivered, if they were wanted. */
  get cursor(): number {
    return this.#cursor
  }

  /** Whether the run has ended. */
  get ended(): boolean {
    return this.#ended
  }

  /**
   * The server's message to a person before it closed, if there was one. It comes as a frame that looks like an
   * `error` event. A real `error` event is always followed by another frame.
   */
  get lastWords(): string | null {
    return this.#held?.kind === 'error' ? this.#held.payload.message : null
  }

  /** To be called for a new connection: the event that was held back comes again. */
  begin(): void {
    this.#held = null
  }

  /** @throws WatchError if the server may not send such a frame */
  *read(frames: readonly string[]): Generator<AgentEvent<K> | PartsOf<L>> {
    for (const text of frames) {
      const frame = jsonOr(text, undefined)
      const part = readPart(frame)
      const read = part === undefined ? readValue(frame, text) : ok(null)
      if (read.isErr()) throw this.#fault(`sent something that is not an event: ${read.error}`)
      if (this.#held !== null) {
        const event = this.#held
        this.#held = null
        this.#advance(event.seq)
        if (this.#wants(event)) yield event
      }
      if (read.value === null) {
        // The server sends parts only if they were asked for.
        if (part != null) yield part as PartsOf<L>
        continue
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

  /** Records that are not wanted may follow the last one that was sent. */
  #catchUp(seq: number): void {
    this.#cursor = Math.max(this.#cursor, seq)
    this.#onCaughtUp?.(seq)
  }

  #advance(seq: number): void {
    const right = areAll(this.#wanted) ? seq === this.#cursor + 1 : seq > this.#cursor
    if (!right || this.#ended)
      throw this.#fault(`sent the event ${seq} after the event ${this.#cursor}`)
    this.#cursor = seq
  }

  #fault(what: string): WatchError {
    return new WatchError('not_understood', `The server ${what}.`, this.#cursor)
  }
}
