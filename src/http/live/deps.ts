import type { FastifyBaseLogger } from 'fastify'
import type { RunRemoval } from '../../api/retention.ts'
import type { LiveParts } from '../../live/live-parts.ts'
import type { Checkpoint } from '../../projections/batch.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, RecordedEvent } from '../../store/event-store.ts'
import type { WatchLog } from '../plugins/access-log.ts'

/** The limits of live delivery. Sizes are bytes of encoded frames. */
export type LiveLimits = {
  /** The newest frames of a watched run that are kept in memory, whichever limit is hit first. */
  readonly ringFrames: number
  readonly ringBytes: number
  /** About how much is read from the store at once for a socket whose cursor is older than the ring. */
  readonly pageBytes: number
  /** How much may be buffered for one socket before its cursor stops. */
  readonly socketBytes: number
  /** How often a client is pinged, milliseconds. */
  readonly pingMs: number
  /** A client that neither reads nor answers a ping for this long is disconnected, milliseconds. */
  readonly stallMs: number
  /** The most WebSockets that are open at once, in all and from one address. */
  readonly sockets: number
  readonly socketsPerClient: number
  /** The most connections of any kind that are open at once, in all and from one address. */
  readonly connections: number
  readonly connectionsPerClient: number
  /** The pause before a failed read is retried: it doubles from the first to the second, milliseconds. */
  readonly retryMs: readonly [number, number]
  /** How long a client may take to read what was sent to it before a text in it was redacted, milliseconds. */
  readonly redactedMs: number
  /** How long a socket may take to close when the server stops, milliseconds. */
  readonly closeMs: number
}

export const LIVE_LIMITS: LiveLimits = {
  ringFrames: 1024,
  ringBytes: 4 * 1024 * 1024,
  pageBytes: 1024 * 1024,
  socketBytes: 1024 * 1024,
  pingMs: 30_000,
  stallMs: 60_000,
  sockets: 10_000,
  socketsPerClient: 5_000,
  connections: 12_000,
  connectionsPerClient: 6_000,
  retryMs: [100, 5000],
  redactedMs: 1000,
  closeMs: 1000,
}

/** What reads records while they are created. */
export type TopicDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'get' | 'caughtUp' | 'waitFor'>
  readonly limits: LiveLimits
  readonly log: FastifyBaseLogger
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow: (event: RecordedEvent) => RecordedEvent
}

/** What delivers them. */
export type LiveDeps = TopicDeps & {
  /** Seconds since the epoch. */
  readonly clock: () => number
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => Checkpoint | null
  readonly watchLog: WatchLog
  /** The entry about a run that was removed; undefined for others. */
  readonly removalOf?: ((runId: string) => RunRemoval | undefined) | undefined
  /** What runs of this process write before it is recorded. */
  readonly parts: LiveParts
}
