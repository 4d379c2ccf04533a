import type { Result } from 'neverthrow'
import * as z from 'zod'
import { RunDiff, SentConversation } from '../api/history.ts'
import type { Kind } from '../api/records.ts'
import {
  type Answered,
  type Bytes,
  cursorOf,
  queryOf,
  type Rest,
  runPath,
  type Signal,
} from './call.ts'
import { HistoryError, type RequestError } from './errors.ts'
import {
  type AgentEvent,
  areAll,
  asAltered,
  type ChosenKind,
  type Kinds,
  kindsText,
  type Read,
  readFrame,
  readText,
  wantedKinds,
} from './events.ts'
import type { ClientLimits } from './limits.ts'
import { linesOf } from './lines.ts'

/** What happened in a run, and its state at any of its records. */
export type History = {
  /**
   * The events of a run up to now, in order. This is the fastest way to read a long run. To continue with what
   * happens next, call `watch` with the `seq` of the last event as `after`.
   * @throws HistoryError if the history cannot be read to its end, the reason of `signal` if that aborts
   */
  events<const S extends Kinds | undefined = undefined>(
    runId: string,
    options?: HistoryOptions<S>,
  ): AsyncGenerator<AgentEvent<ChosenKind<S>>, void, undefined>
  /** What changed in the run between two records, given by their seqs, and which files the tools changed. */
  diff(
    runId: string,
    moments: { readonly from: number; readonly to: number },
    options?: Signal,
  ): Answered<RunDiff>
  /** What was sent to the model at a record; without `at`, what is or would be sent now. */
  conversation(
    runId: string,
    moment?: { readonly at?: number | undefined },
    options?: Signal,
  ): Answered<SentConversation>
  /** The whole output of a tool call, as a stream. The record holds a part of it and its SHA-256. */
  artifact(runId: string, sha256: string, options?: Signal): Answered<Bytes>
}

export function createHistory(rest: Rest, limits: ClientLimits): History {
  const { get, open } = rest
  return {
    events: (runId, options = {}) => readHistory(runId, options, { rest, limits }),
    diff: (runId, { from, to }, options) =>
      get(runPath(runId, `/diff${queryOf({ from, to })}`), RunDiff, options),
    conversation: (runId, { at } = {}, options) =>
      get(runPath(runId, `/conversation${queryOf({ at })}`), SentConversation, options),
    artifact: (runId, sha256, options) =>
      open(
        runPath(runId, `/artifacts/${encodeURIComponent(sha256)}`),
        'text/plain, application/json',
        options,
      ),
  }
}

export type HistoryOptions<S extends Kinds | undefined = Kinds | undefined> = {
  /** Only events after this seq. The default is -1: all. */
  readonly after?: number | undefined
  readonly kinds?: S
  /** Each event also has `id` and `meta`, which are stored beside its record. */
  readonly meta?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

type Deps = {
  readonly rest: Pick<Rest, 'call' | 'open'>
  readonly limits: Pick<ClientLimits, 'silenceMs' | 'answerBytes'>
}

/** The events of a run up to now. @throws HistoryError, or the reason of the signal */
async function* readHistory<const S extends Kinds | undefined>(
  runId: string,
  { after = -1, kinds, meta = false, signal }: HistoryOptions<S>,
  deps: Deps,
): AsyncGenerator<AgentEvent<ChosenKind<S>>, void, undefined> {
  const reading = new Reading<ChosenKind<S>>(runId, wantedKinds(kinds), { after, meta, signal })
  for (;;) {
    if (yield* streamed(reading, deps)) return
    // A stream that breaks off does not report why. The next page reports it, or has the next events.
    if (yield* paged(reading, deps)) return
  }
}

/** How far a history has been read, and which of its events are wanted. */
class Reading<K extends Kind> {
  readonly signal: AbortSignal | undefined
  readonly #runId: string
  readonly #wanted: ReadonlySet<Kind>
  readonly #form: Readonly<Record<string, string>>
  cursor: number

  constructor(
    runId: string,
    wanted: ReadonlySet<Kind>,
    { after, meta, signal }: Required<Pick<HistoryOptions, 'after' | 'meta' | 'signal'>>,
  ) {
    this.#runId = runId
    this.#wanted = wanted
    this.#form = meta === true ? { meta: 'true' } : {}
    this.signal = signal
    this.cursor = after ?? -1
  }

  get wantsMeta(): boolean {
    return 'meta' in this.#form
  }

  /** The address of the events after the cursor. */
  get path(): string {
    const query = { after: this.cursor, kinds: kindsText(this.#wanted), ...this.#form }
    return runPath(this.#runId, `/events${queryOf(query)}`)
  }

  /** The events that are wanted, of the next frames. */
  *take(frames: readonly Result<Read, string>[]): Generator<AgentEvent<K>> {
    for (const read of frames) {
      this.signal?.throwIfAborted()
      if (read.isErr()) this.fail(notUnderstood(`something that is not an event: ${read.error}`))
      const event = read.value.type === 'event' ? read.value.event : read.value
      const { seq } = event
      const right = areAll(this.#wanted) ? seq === this.cursor + 1 : seq > this.cursor
      if (!right) this.fail(notUnderstood(`the event ${seq} after the event ${this.cursor}`))
      this.cursor = seq
      if (this.#wants(event)) yield event
    }
  }

  fail(error: RequestError): never {
    this.signal?.throwIfAborted()
    throw new HistoryError(error, this.cursor)
  }

  #wants(event: object): event is AgentEvent<K> & AgentEvent {
    return 'kind' in event && this.#wanted.has(event.kind as Kind)
  }
}

/** @returns whether everything came; if not, the stream broke off */
async function* streamed<K extends Kind>(
  reading: Reading<K>,
  { rest, limits }: Deps,
): AsyncGenerator<AgentEvent<K>, boolean> {
  const { path, signal } = reading
  const body = await rest.open(path, 'application/x-ndjson', { signal })
  // The events before a record that cannot be read come in pages.
  if (body.isErr()) return isOfDamage(body.error) ? false : reading.fail(body.error)
  const batches = linesOf(body.value, limits)
  try {
    for (;;) {
      const batch = await batches.next().catch(() => null)
      if (batch === null) return false
      if (batch.done) return true
      yield* reading.take(batch.value.map(readText))
    }
  } finally {
    await batches.return()
  }
}

/** One page. @returns whether it was the last */
async function* paged<K extends Kind>(
  reading: Reading<K>,
  { rest }: Deps,
): AsyncGenerator<AgentEvent<K>, boolean> {
  const { path, signal, cursor: from } = reading
  const page = await rest.call({ method: 'GET', path, schema: z.array(z.unknown()), signal })
  if (page.isErr()) return reading.fail(page.error)
  const { value, text, headers } = page.value
  const exact = reading.wantsMeta ? JSON.stringify(value) === text : true
  yield* reading.take(
    value.map((frame) => (exact ? readFrame(frame) : readFrame(frame).map(asAltered))),
  )
  const next = cursorOf(headers.get('link'), 'after')
  if (next === null) return true
  const seq = Number(next)
  // Following it would never end.
  if (!Number.isSafeInteger(seq) || seq <= from)
    reading.fail(notUnderstood(`a page after ${from} whose next page is after ${next}`))
  // Records that are not wanted may follow the last one that was sent.
  reading.cursor = seq
  return false
}

const isOfDamage = (error: RequestError): boolean =>
  error.type === 'refused' && error.code === 'damaged_record'

const notUnderstood = (what: string): RequestError => ({
  type: 'not_understood',
  status: 200,
  message: `The server sent ${what}.`,
})
