import type { Result } from 'neverthrow'
import * as z from 'zod'
import type { Form } from '../../api/event-query.ts'
import { CaughtUp, FeedCursor, feedFilters, formIn, WithMeta } from '../../api/event-query.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { Watched } from '../plugins/watch-log.ts'
import { refusalFrame } from './entry.ts'
import type { FeedEntry } from './feed-entry.ts'
import { FeedFilter } from './feed-filter.ts'
import { type FeedStart, feedStart } from './feed-start.ts'
import type { Live } from './live.ts'
import { type Ending, notWritten } from './observe.ts'
import type { Outlet } from './outlet.ts'
import type { Observation } from './sockets.ts'

/** The query of WS /api/ws. */
export const WatchAllQuery = z.strictObject({
  after: FeedCursor.optional(),
  ...feedFilters,
  caught_up: CaughtUp.optional(),
  meta: WithMeta.optional(),
})

/** All runs over a WebSocket, as its address asks for them. */
export function observeFeed(
  query: Result<z.output<typeof WatchAllQuery>, string>,
  live: Live,
  watched: Watched,
): Observation {
  return {
    send: async (outlet, signal) => {
      if (query.isErr()) return { type: 'bad_request', cursor: -1, message: query.error }
      const start = await findStart(query.value.after, live, signal)
      if (start === null || 'type' in start) return start
      if (!(await watched.begin())) return notWritten(-1)
      const filter = new FeedFilter(query.value, live.facts, signal)
      const form = formIn(query.value)
      let { cursor } = start
      for await (const entries of live.feed.follow(start.position, signal)) {
        await sendAll(entries, { filter, form, outlet, signal, watched })
        cursor = entries.at(-1)?.cursor ?? cursor
        const historyEnds = entries.length === 0
        if (historyEnds && query.value.caught_up === true) outlet.send(feedCaughtUpFrame(cursor))
      }
      return null
    },
    refusal: ({ message }) => refusalFrame('', -1, live.clock(), message),
  }
}

/** Store trouble is waited out. */
async function findStart(
  after: string | undefined,
  live: Live,
  signal: AbortSignal,
): Promise<FeedStart | Ending | null> {
  const backoff = new Backoff(live.limits.retryMs)
  while (!signal.aborted) {
    const start = await feedStart(after, live)
    if (start.isOk()) return start.value
    const { type, message } = start.error
    if (type === 'unknown_cursor') return { type: 'bad_request', cursor: -1, message }
    live.log.warn({ error: start.error }, 'cannot look up a cursor, trying again')
    await backoff.wait(signal)
  }
  return null
}

type Sending = {
  readonly filter: FeedFilter
  readonly form: Form
  readonly outlet: Outlet
  readonly signal: AbortSignal
  readonly watched: Watched
}

/** Sends what was asked for, no faster than the peer takes it. */
async function sendAll(
  entries: readonly FeedEntry[],
  { filter, form, outlet, signal, watched }: Sending,
): Promise<void> {
  outlet.cork()
  try {
    for (const entry of entries) {
      const passes = filter.passes(entry)
      if (passes === false || (passes !== true && !(await passes))) continue
      if (signal.aborted) return
      outlet.send(entry.dataIn(form))
      watched.last = entry.cursor
      if (outlet.full) await outlet.uncorkedDrain()
    }
  } finally {
    outlet.uncork()
  }
}

/** As for one run, with the cursor of the last record of the log that was looked at; null for none. */
function feedCaughtUpFrame(cursor: string | null): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'caught_up', cursor }))
}
