import {
  type AllStreamResolvedEvent,
  type AllStreamSubscription,
  BACKWARDS,
  END,
  type EventStoreDBClient,
  type Filter,
  type Position as LogPosition,
  START,
  type StreamSubscription,
  streamNameFilter,
} from '@eventstore/db-client'
import { call, collect, readError } from './calls.ts'
import { isSystemEvent, type StoredEvent } from './event-format.ts'

/** How many events the client reads ahead before the server has to wait. */
export const READ_AHEAD = 128

/** A subscription of the client, before anything was read from it. */
export type ClientSubscription = StreamSubscription | AllStreamSubscription

/** What a subscription follows: one stream, or $all. `P` is a place in it. */
export type Source<P> = {
  /** What is followed, for log lines. */
  readonly name: string
  /** Subscribes after `after` (null is the start). Calls `passed` with places that the server has passed without events. */
  connect(after: P | null, passed: (place: P) => void): ClientSubscription
  placeOf(event: StoredEvent): P
  isAfter(place: P, other: P | null): boolean
  /**
   * The place of the last event that is stored now, or a later one; null if there is nothing to wait for. Rejects if
   * the server does not answer.
   * @param attempt how often it was asked before without being reached in time: then it looks more closely
   */
  head(attempt: number): Promise<P | null>
}

/** One stream. A place is a revision. */
export function streamSource(
  client: EventStoreDBClient,
  stream: string,
  timeoutMs: number,
): Source<bigint> {
  return {
    name: stream,
    connect: (after) =>
      client.subscribeToStream(
        stream,
        { fromRevision: after ?? START, requiresLeader: true },
        { highWaterMark: READ_AHEAD },
      ),
    placeOf: (event) => event.revision,
    isAfter: (place, other) => other === null || place > other,
    head: async () => {
      const last = { direction: BACKWARDS, fromRevision: END, maxCount: 1 } as const
      const options = { ...last, requiresLeader: true }
      try {
        const events = await call(() => collect(timeoutMs, client.readStream(stream, options)))
        return events[0]?.event?.revision ?? null
      } catch (cause) {
        if (readError(cause, stream).type === 'stream_not_found') return null
        throw cause
      }
    },
  }
}

/** After this many events that the filter drops, the server reports the place that it has passed. */
const SEARCH_WINDOW = 32
/** How far back the last event that passes the filter is looked for: more than one window. */
const LOOK_BACK = 4 * SEARCH_WINDOW
/** The factor by which that grows each time, if the server does not report where it is. */
const FURTHER = 8
const MAX_LOOK_BACK = LOOK_BACK * FURTHER ** 3

const BEFORE_ALL: LogPosition = { commit: 0n, prepare: 0n }

function isAfter(place: LogPosition, other: LogPosition | null): boolean {
  if (other === null || place.commit > other.commit) return true
  return place.commit === other.commit && place.prepare > other.prepare
}

const isOfSystem = (stream: string): boolean => stream.startsWith('$')

/** $all, filtered by the names of streams. A place is a position in the log. */
export function allSource(
  client: EventStoreDBClient,
  prefix: string,
  timeoutMs: number,
): Source<LogPosition> {
  const passes = ({ streamId }: StoredEvent) => {
    return streamId.startsWith(prefix) && (isOfSystem(prefix) || !isOfSystem(streamId))
  }
  const filter = (passed: (place: LogPosition) => void): Filter => {
    const common = {
      maxSearchWindow: SEARCH_WINDOW,
      checkpointReached: (_: unknown, place: LogPosition) => passed(place),
    }
    return prefix === ''
      ? streamNameFilter({ ...common, regex: '^[^$]' })
      : streamNameFilter({ ...common, prefixes: [prefix] })
  }
  const newest = async (limit: number): Promise<StoredEvent[]> => {
    const options = { direction: BACKWARDS, fromPosition: END, maxCount: limit } as const
    const read = () => collect(timeoutMs, client.readAll({ ...options, requiresLeader: true }))
    return (await call(read)).flatMap(({ event }: AllStreamResolvedEvent) => event ?? [])
  }
  return {
    name: `$all (${prefix}…)`,
    connect: (after, passed) =>
      client.subscribeToAll(
        { fromPosition: after ?? START, filter: filter(passed), requiresLeader: true },
        { highWaterMark: READ_AHEAD },
      ),
    placeOf: (event) => event.position ?? BEFORE_ALL,
    isAfter,
    head: async (attempt) => {
      const furthest = Math.min(LOOK_BACK * FURTHER ** attempt, MAX_LOOK_BACK)
      for (let limit = LOOK_BACK; ; limit *= FURTHER) {
        const events = await newest(limit)
        const last = events.find((event) => passes(event) && !isSystemEvent(event))
        if (last !== undefined) return last.position ?? null
        if (events.length < limit) return null
        // None of these passes the filter: the server will report that it has passed the first of them.
        if (limit >= furthest) return events.at(-1)?.position ?? null
      }
    },
  }
}
