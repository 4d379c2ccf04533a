import { err, errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type {
  EventStore,
  Position,
  ReadError,
  ReadOptions,
  RecordedEvent,
  Revision,
  StoreFailure,
} from '../store/event-store.ts'

/** The part of a store from which streams are read. A log that is open for reading only has it too. */
export type StreamReader = Pick<EventStore, 'readStream'>

/** Records hold tens of kilobytes at most, so a page stays within some megabytes. */
const PAGE = 250

type Pages<E> = AsyncGenerator<Result<readonly RecordedEvent[], E>, void, void>

/**
 * The events of a stream in pages, from those after the revision `after` to its end or to the revision `to` (inclusive).
 * Reads the next page while the caller works on one. Ends after an error, which may be `stream_not_found`.
 * @param limit how many events to read at once; a function gets the page that was read last, null at first
 */
export async function* streamPages(
  store: StreamReader,
  stream: string,
  {
    direction = 'forward',
    after = null,
    to = direction === 'forward' ? Number.POSITIVE_INFINITY : 0,
    limit = PAGE,
  }: {
    readonly after?: Revision | null | undefined
    readonly direction?: ReadOptions['direction']
    readonly to?: number
    readonly limit?: number | ((last: readonly RecordedEvent[] | null) => number)
  } = {},
): Pages<ReadError> {
  const step = direction === 'forward' ? 1 : -1
  const read = (next: ReadOptions['from'], last: readonly RecordedEvent[] | null) => {
    const left = typeof next === 'number' ? (to - next) * step + 1 : Number.POSITIVE_INFINITY
    const count = Math.min(typeof limit === 'number' ? limit : limit(last), left)
    return count > 0
      ? { count, page: store.readStream(stream, { from: next, direction, limit: count }) }
      : null
  }
  const start = direction === 'forward' ? 0 : 'end'
  let reading = read(after === null ? start : after + step, null)
  while (reading !== null) {
    const page: Result<readonly RecordedEvent[], ReadError> = await reading.page
    const events = page.unwrapOr([])
    const last = events.at(-1)
    const isLast = last === undefined || events.length < reading.count
    reading = isLast ? null : read(last.revision + step, events)
    if (page.isErr() || last !== undefined) yield page
  }
}

/** The event of a stream at a revision, or its last one; null if the stream is shorter, or does not exist. */
export function eventAt(
  store: StreamReader,
  stream: string,
  at: Revision | 'end',
): ResultAsync<RecordedEvent | null, StoreFailure> {
  return store
    .readStream(stream, { from: at, direction: at === 'end' ? 'backward' : 'forward', limit: 1 })
    .map(([event]) => event ?? null)
    .orElse((error) => (error.type === 'stream_not_found' ? okAsync(null) : errAsync(error)))
}

/** Where a record is in a log, by which whoever has read up to it knows the log again. */
export const LogPlace = z.object({
  position: z.string(),
  stream: z.string(),
  revision: z.int(),
  id: z.string(),
})
export type LogPlace = Readonly<z.infer<typeof LogPlace>>

export const placeOf = ({ position, stream, revision, id }: RecordedEvent): LogPlace => {
  return { position, stream, revision, id }
}

/** Whether a log has the record of a place. `moved`: at another position. */
export const lookFor = (
  store: StreamReader,
  { position, stream, revision, id }: LogPlace,
): ResultAsync<'there' | 'moved' | 'missing', StoreFailure> =>
  eventAt(store, stream, revision).map((found) => {
    if (found?.id !== id) return 'missing'
    return found.position === position ? 'there' : 'moved'
  })

/** The last event of a stream; `stream_not_found` for a stream without events. */
export function lastEvent(
  store: StreamReader,
  stream: string,
): ResultAsync<RecordedEvent, ReadError> {
  return eventAt(store, stream, 'end').andThen((event): Result<RecordedEvent, ReadError> => {
    return event === null ? err({ type: 'stream_not_found', stream }) : ok(event)
  })
}

/** A whole log in pages, in the order in which it was appended. */
export type LogPages = AsyncIterable<Result<readonly RecordedEvent[], StoreFailure>>

/** A store that sends nothing for this long, in milliseconds, is given up. */
const SILENT_MS = 60_000

type LogPart = {
  /** Exclusive; null is all. */
  readonly after?: Position | null
  /** Of the names of streams. */
  readonly prefix?: string
  readonly silentMs?: number
}

/** The log of a store, up to what is stored when its end is reached. Ends with an error if the store is lost. */
export async function* logPages(
  store: Pick<EventStore, 'subscribeAll'>,
  { after = null, prefix = '', silentMs = SILENT_MS }: LogPart = {},
): LogPages {
  const done = new AbortController()
  const lost = new AbortController()
  const giveUp = (): void => lost.abort()
  const signal = AbortSignal.any([done.signal, lost.signal])
  // Only while this waits for the store: what the caller does with a page may take longer.
  let timer = setTimeout(giveUp, silentMs)
  try {
    for await (const item of store.subscribeAll({ after, prefix, signal })) {
      // A subscription reports that it is interrupted, and is then silent until the store answers again.
      if (item.type === 'interrupted') continue
      clearTimeout(timer)
      if (item.type === 'events') yield ok(item.events)
      if (item.type === 'caught_up') done.abort()
      timer = setTimeout(giveUp, silentMs)
    }
  } finally {
    clearTimeout(timer)
  }
  if (done.signal.aborted) return
  const message = `The event store went away while its log was read, and did not answer for ${silentMs / 1_000} s`
  yield err({ type: 'store_unavailable', message })
}
