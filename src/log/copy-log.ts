import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import {
  type AppendError,
  appendBytes,
  type EventStore,
  MAX_APPEND_BYTES,
  type RecordedEvent,
  type StoreFailure,
} from '../store/event-store.ts'
import { appendAfter } from './decider.ts'
import { LOG_ID_STREAM, readLogId, SERVERS_STREAM } from './log-identity.ts'
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

/**
 * Copies our streams of a log into a store, except the heartbeats of servers: the same names, revisions, ids, data and
 * metadata, in the order of the log. An event that the target holds already is compared by its id, which a record derives
 * from its hash, and stays as it is. So a copy that was interrupted can be continued, and a second copy changes nothing.
 * The log keeps its identity. If the source was redacted since an earlier copy, the server that starts on the target
 * redacts it there.
 */
export function copyLog(
  source: LogPages | Iterable<Result<readonly RecordedEvent[], StoreFailure>>,
  target: EventStore,
  onProgress?: (progress: CopyProgress) => void,
): ResultAsync<CopyProgress, CopyError> {
  const progress = { copied: 0, present: 0, leftOut: 0, streams: 0 }
  const run = async (): Promise<Result<CopyProgress, CopyError>> => {
    for await (const page of source) {
      if (page.isErr()) return err(page.error)
      for (const events of groups(page.value)) {
        const [{ stream, revision }] = events
        if (!isOurs(stream)) progress.leftOut += events.length
        // Heartbeats are about the processes of the source, and begin late after a scavenge.
        if (!isOurs(stream) || stream === SERVERS_STREAM) continue
        const present = await copyMissing(events, target)
        if (present.isErr()) return err(present.error)
        progress.present += present.value
        progress.copied += events.length - present.value
        if (revision === 0) progress.streams += 1
        onProgress?.(progress)
      }
    }
    return ok(progress)
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

type Group = readonly [RecordedEvent, ...RecordedEvent[]]

/** Groups consecutive events of one stream, as many as one append can hold. */
function* groups(events: readonly RecordedEvent[]): Generator<Group> {
  let group: [RecordedEvent, ...RecordedEvent[]] | null = null
  let bytes = 0
  for (const event of events) {
    const size = appendBytes([event])
    if (group !== null && group[0].stream === event.stream && bytes + size <= MAX_APPEND_BYTES) {
      group.push(event)
      bytes += size
      continue
    }
    if (group !== null) yield group
    group = [event]
    bytes = size
  }
  if (group !== null) yield group
}

/** Makes sure that the target has these events of one stream. @returns how many it had already */
async function copyMissing(events: Group, target: EventStore): Promise<Result<number, CopyError>> {
  const [{ stream, revision: from }] = events
  const altered = events.find((event) => event.altered === true)
  if (altered !== undefined) return err(notAsAppended(altered))
  const page = { from, direction: 'forward', limit: events.length } as const
  const read = await target.readStream(stream, page)
  if (read.isErr() && read.error.type !== 'stream_not_found') return err(read.error)
  const there = read.unwrapOr([])
  const other = there.find(({ id }, index) => id !== events[index]?.id)
  if (other !== undefined) return err(otherContent(stream, other.revision))
  const missing = events.slice(there.length)
  const [first] = missing
  if (first === undefined) return ok(there.length)
  const bare = missing.map(({ id, type, data, metadata }) => ({ id, type, data, metadata }))
  const failure = await appendAfter(target, stream, first.revision - 1, bare)
  return failure === null ? ok(there.length) : err(copyError(failure, stream, first.revision))
}

const isOurs = (stream: string): boolean =>
  stream.startsWith(OWN_STREAM_PREFIX) || stream.startsWith(RUN_STREAM_PREFIX)

function otherContent(stream: string, revision: number): CopyError {
  const message =
    stream === LOG_ID_STREAM
      ? 'the target already holds another log: copy into an empty one, or into an earlier copy of this log'
      : `the stream ${stream} of the target holds another event at revision ${revision}, or ends before: the target is not a copy of this log, or something was appended to it since`
  return { type: 'other_content', message }
}

function notAsAppended({ stream, revision }: RecordedEvent): CopyError {
  const message = `revision ${revision} of ${stream} in the source is not the text that was appended: somebody has altered it. Verify the source, and copy from a backup that holds`
  return { type: 'store_failed', message }
}

function copyError(error: AppendError, stream: string, revision: number): CopyError {
  if (error.type === 'wrong_expected_revision') return otherContent(stream, revision)
  if (error.type !== 'append_too_large') return error
  const { bytes, limit } = error
  const message = `the target takes ${limit} bytes in one append, and ${stream} holds an event of ${bytes} bytes`
  return { type: 'store_failed', message }
}
