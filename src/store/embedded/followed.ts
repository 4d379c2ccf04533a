import type { CommitFeed } from './commit-feed.ts'
import type { Followed } from './follow.ts'
import type { ReadQueue } from './read-queue.ts'

/** Pages of a subscription are cut short by the reader long before this. */
const NO_LIMIT = 1_000_000

/** One stream, by its revisions. A stream that does not exist yet is an empty one. */
export function followedStream(feed: CommitFeed, reads: ReadQueue, stream: string): Followed {
  const page = { op: 'stream', stream, backward: false, limit: NO_LIMIT, short: true } as const
  return {
    join: () => feed.joinStream(stream),
    leave: (inbox) => feed.leaveStream(stream, inbox),
    placeOf: (event) => event.revision,
    read: (after) =>
      reads
        .ask(stream, (id) => ({ ...page, id, from: after + 1 }))
        .map(({ events, end }) => ({ events, end, cursor: events.at(-1)?.revision ?? after })),
  }
}

/** All streams whose name begins with `prefix`, by the positions of the log. */
export function followedLog(feed: CommitFeed, reads: ReadQueue, prefix: string): Followed {
  return {
    join: () => feed.joinAll(prefix),
    leave: (inbox) => feed.leaveAll(inbox),
    placeOf: (event) => Number(event.position),
    read: (after) => reads.ask(null, (id) => ({ op: 'all', id, after, prefix })),
  }
}
