import type { FastifyBaseLogger } from 'fastify'
import type { RunRemoval } from '../../api/retention.ts'
import type { PauseBoundsMs } from '../../lib/backoff.ts'
import type { LiveParts } from '../../live/live-parts.ts'
import type { LogPlace } from '../../log/stream-pages.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, RecordedEvent } from '../../store/event-store.ts'
import type { WatchLog } from '../plugins/access-log.ts'

/** The limits of live delivery. Sizes are bytes of encoded frames. */
export const LIVE_LIMITS = {
  /** The newest frames of a watched run that are kept in memory, whichever limit is hit first. */
  ringFrames: 1024,
  ringBytes: 4 * 1024 * 1024,
  /** About how much is read from the store at once for a socket whose cursor is older than the ring. */
  pageBytes: 1024 * 1024,
  /** How much may be buffered for one socket before its cursor stops. */
  socketBytes: 1024 * 1024,
  /** How often a client is pinged, milliseconds. */
  pingMs: 30_000,
  /** A client that neither reads nor answers a ping for this long is disconnected, milliseconds. */
  stallMs: 60_000,
  /** The most WebSockets and event streams that are open at once, in all and from one address. */
  sockets: 10_000,
  socketsPerClient: 5_000,
  /** The most connections of any kind that are open at once, in all and from one address. */
  connections: 12_000,
  connectionsPerClient: 6_000,
  /** The pause before a failed read is retried: it doubles from the first to the second, milliseconds. */
  retryMs: [100, 5000] as PauseBoundsMs,
  /** How long a client may take to read what was sent to it before a text in it was redacted, milliseconds. */
  redactedMs: 1000,
  /** How long a socket may take to close when the server stops, milliseconds. */
  closeMs: 1000,
}
export type LiveLimits = Readonly<typeof LIVE_LIMITS>

/** What delivers records while they are created. */
export type LiveDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'get' | 'caughtUp' | 'waitFor'>
  readonly limits: LiveLimits
  readonly log: FastifyBaseLogger
  /** Seconds since the epoch. */
  readonly clock: () => number
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow: (event: RecordedEvent) => RecordedEvent
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => LogPlace | null
  readonly watchLog: WatchLog
  /** The entry about a run that was removed; undefined for others. */
  readonly removalOf: (runId: string) => RunRemoval | undefined
  /** What runs of this process write before it is recorded. */
  readonly parts: LiveParts
}

/** What a topic reads with. */
export type TopicDeps = Pick<LiveDeps, 'readModel' | 'limits' | 'log' | 'asOfNow'>
