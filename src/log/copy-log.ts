import { isDeepStrictEqual } from 'node:util'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import { jsonOr } from '../lib/json.ts'
import {
  type AppendError,
  appendBytes,
  type EventStore,
  MAX_APPEND_BYTES,
  type NewEvent,
  type RecordedEvent,
  type StoreFailure,
} from '../store/event-store.ts'
import { redactedPointers, redactStrings } from './codec.ts'
import { appendAfter } from './decider.ts'
import { LOG_ID_STREAM, readLogId, SERVERS_STREAM } from './log-identity.ts'
import { patientStore, type StreamStore } from './patience.ts'
import { RUN_STREAM_PREFIX } from './run-log.ts'
import type { LogPages, StreamReader } from './stream-pages.ts'

/** Counts so far, of events unless named otherwise. */
export type CopyProgress = {
  readonly copied: number
  /** Events that the target had already. */
  readonly present: number
  /** Events of streams that are not ours. */
  readonly leftOut: number
  /** Streams whose events were copied or present. */
  readonly streams: number
}

export type CopyError =
  | StoreFailure
  | Extract<AppendError, { type: 'outcome_unknown' }>
  /** A stream of the target holds other events; nothing more was copied. */
  | { readonly type: 'other_content'; readonly message: string }

type CopyOptions = {
  readonly onProgress?: (progress: CopyProgress) => void
  /** Waits before the next attempt if the store was away or did not answer; false gives up. */
  readonly retry?: (failures: number) => Promise<boolean>
}

/**
 * Copies our streams of a log into a store, except the heartbeats of servers: the same names, revisions, ids, data and metadata, in the order of the
 * log. Compares what the target holds already, and leaves it as it is. So a copy that was interrupted can be
 * continued, and a second copy changes nothing. The log keeps its identity. If the source was redacted since an
 * earlier copy, the server that starts on the target redacts it there.
 */
export function copyLog(
  source: LogPages,
  target: EventStore,
  options: CopyOptions = {},
): ResultAsync<CopyProgress, CopyError> {
  const copy = new Copy(target, options.retry ?? (async () => false))
  const run = async (): Promise<Result<CopyProgress, CopyError>> => {
    for await (const page of source) {
      if (page.isErr()) return err(page.error)
      for (const events of groups(page.value)) {
        const taken = await copy.take(events)
        if (taken.isErr()) return err(taken.error)
        options.onProgress?.(copy.progress)
      }
    }
    return ok(copy.progress)
  }
  return new ResultAsync(run())
}

/**
 * Refuses a target that is another log. To be called before anything is copied: what comes before the identity of the
 * source, such as tokens, would otherwise be in the other log by the time the two identities are compared.
 */
export async function refuseOtherLog(
  source: StreamReader,
  target: StreamReader,
): Promise<Result<void, { readonly message: string }>> {
  const [from, to] = await Promise.all([readLogId(source), readLogId(target)])
  return to.andThen((there) => {
    if (there === null) return ok()
    return from.andThen((own) => (own === there ? ok() : err(otherContent(LOG_ID_STREAM, 0))))
  })
}

/** Groups consecutive events of one stream, as many as one append can hold. */
function* groups(events: readonly RecordedEvent[]): Generator<readonly RecordedEvent[]> {
  let group: RecordedEvent[] = []
  let bytes = 0
  for (const event of events) {
    const size = appendBytes([event])
    const fits = group[0]?.stream === event.stream && bytes + size <= MAX_APPEND_BYTES
    if (group.length > 0 && !fits) {
      yield group
      group = []
      bytes = 0
    }
    group.push(event)
    bytes += size
  }
  if (group.length > 0) yield group
}

class Copy {
  readonly #target: StreamStore
  readonly progress = { copied: 0, present: 0, leftOut: 0, streams: 0 }

  constructor(target: EventStore, retry: (failures: number) => Promise<boolean>) {
    this.#target = patientStore(target, {
      wait: async ({ type }, failures) => type !== 'store_failed' && retry(failures),
    })
  }

  /** Makes sure that the target has these events of one stream. */
  async take(events: readonly RecordedEvent[]): Promise<Result<void, CopyError>> {
    const [first] = events
    if (first === undefined) return ok()
    // It is about the processes of the source, and begins late after a scavenge.
    if (first.stream === SERVERS_STREAM) return ok()
    if (!isOurs(first.stream)) {
      this.progress.leftOut += events.length
      return ok()
    }
    const altered = events.find((event) => event.altered === true)
    if (altered !== undefined) return err(notAsAppended(altered))
    const present = await this.#present(first, events)
    if (present.isErr()) return err(present.error)
    const missing = events.slice(present.value)
    const appended = await this.#append(first.stream, missing)
    if (appended.isErr()) return err(appended.error)
    this.progress.copied += missing.length
    this.progress.present += present.value
    if (first.revision === 0) this.progress.streams += 1
    return ok()
  }

  /** How many of the events the target has. An error if it has others in their places. */
  async #present(
    { stream, revision }: RecordedEvent,
    events: readonly RecordedEvent[],
  ): Promise<Result<number, CopyError>> {
    const page = { from: revision, direction: 'forward', limit: events.length } as const
    const read = await this.#target.readStream(stream, page)
    if (read.isErr() && read.error.type !== 'stream_not_found') return err(read.error)
    const there = read.isOk() ? read.value : []
    const other = there.find((event, index) => !isSameEvent(event, events[index]))
    return other === undefined ? ok(there.length) : err(otherContent(stream, other.revision))
  }

  async #append(
    stream: string,
    events: readonly RecordedEvent[],
  ): Promise<Result<void, CopyError>> {
    const [first] = events
    if (first === undefined) return ok()
    const bare = events.map(({ id, type, data, metadata }) => ({ id, type, data, metadata }))
    const failure = await appendAfter(this.#target, stream, first.revision - 1, bare)
    return failure === null ? ok() : err(copyError(failure, stream, first.revision))
  }
}

/** Whether two stores hold the same event at the same place, apart from redactions. */
function isSameEvent(there: RecordedEvent, event: RecordedEvent | undefined): boolean {
  return (
    there.revision === event?.revision &&
    there.id === event.id &&
    there.type === event.type &&
    there.altered !== true &&
    event.altered !== true &&
    (isSameContent(there, event) || isSameButForRedactions(there, event))
  )
}

const isSameContent = (one: NewEvent, other: NewEvent): boolean =>
  isSameJson(one.data, other.data) && isSameJson(one.metadata, other.metadata)

/** Strings of either may have been redacted since the event was copied. */
function isSameButForRedactions(one: NewEvent, other: NewEvent): boolean {
  try {
    const pointers = new Set([...redactedPointers(one), ...redactedPointers(other)])
    if (pointers.size === 0) return false
    return isSameContent(redactStrings(one, pointers).event, redactStrings(other, pointers).event)
  } catch {
    // One of them is not a record of ours.
    return false
  }
}

/** Two stores may write the same JSON in different ways. */
function isSameJson(one: string, other: string): boolean {
  return one === other || isDeepStrictEqual(jsonOr(one, one), jsonOr(other, other))
}

const isOurs = (stream: string): boolean =>
  stream.startsWith(OWN_STREAM_PREFIX) || stream.startsWith(RUN_STREAM_PREFIX)

function otherContent(stream: string, revision: number): CopyError {
  const message =
    stream === LOG_ID_STREAM
      ? 'the target already holds another log: copy into an empty one, or into an earlier copy of this log'
      : `the stream ${stream} of the target holds another event at revision ${revision}: the target is not a copy of this log, or something was appended to it since`
  return { type: 'other_content', message }
}

function notAsAppended({ stream, revision }: RecordedEvent): CopyError {
  const message = `revision ${revision} of ${stream} in the source is not the text that was appended: somebody has altered it. Verify the source, and copy from a backup that holds`
  return { type: 'store_failed', message }
}

function copyError(error: AppendError, stream: string, revision: number): CopyError {
  switch (error.type) {
    case 'wrong_expected_revision':
      return error.actual === 'no_stream' || error.actual < revision - 1
        ? beginsLate(stream, revision)
        : otherContent(stream, revision)
    case 'append_too_large': {
      const { bytes, limit } = error
      const message = `the target takes ${limit} bytes in one append, and ${stream} holds an event of ${bytes} bytes`
      return { type: 'store_failed', message }
    }
    default:
      return error
  }
}

function beginsLate(stream: string, revision: number): CopyError {
  const message = `the source holds ${stream} only from revision ${revision} on: its beginning was truncated`
  return { type: 'other_content', message }
}
