import type { Checkpoint } from '../../projections/batch.ts'
import type { WatchLog } from '../plugins/watch-log.ts'
import { Feed } from './feed.ts'
import { RunFacts } from './feed-filter.ts'
import { Hub } from './hub.ts'
import { Sockets } from './sockets.ts'
import { Streams } from './streams.ts'
import type { TopicDeps } from './topic.ts'

export type LiveDeps = TopicDeps & {
  /** Seconds since the epoch. */
  readonly clock: () => number
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => Checkpoint | null
  readonly watchLog: WatchLog
}

/** Everything in this process that delivers records while they are made. */
export type Live = LiveDeps & {
  readonly hub: Hub
  readonly feed: Feed
  readonly facts: RunFacts
  readonly sockets: Sockets
  readonly streams: Streams
}

export function createLive(deps: LiveDeps): Live {
  return {
    ...deps,
    hub: new Hub(deps),
    feed: new Feed(deps),
    facts: new RunFacts(deps),
    sockets: new Sockets(deps.limits),
    streams: new Streams(deps.limits),
  }
}
