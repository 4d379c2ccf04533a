import { Backoff } from '../lib/backoff.ts'
import { Connection } from './connection.ts'
import type { ClientLimits } from './limits.ts'

/**
 * `connecting` for the first time, `live` while the server can send, `reconnecting` after the
 * connection was lost, `closed` when the watch is over.
 */
export type WatchState = 'connecting' | 'live' | 'reconnecting' | 'closed'

/** How a watch goes on after a connection has ended. */
export type Next = 'end' | 'at_once' | 'later'

/** What is followed, over one connection after the other. */
export type Followed<T> = {
  /** A WebSocket behind all that has been read. */
  readonly open: () => WebSocket
  readonly reader: {
    /** To be called for a new connection. */
    begin(): void
    read(frames: readonly string[]): Iterable<T>
    /** Whether nothing more can come. */
    readonly ended: boolean
  }
  /** Judges a connection that has ended. @throws where there is no way to go on */
  readonly judge: (connection: Connection) => Promise<Next>
  readonly signal: AbortSignal | undefined
  readonly onState: ((state: WatchState) => void) | undefined
  readonly limits: ClientLimits
}

/**
 * What a reader makes of the frames of a server, whatever happens to the connection. It is opened with
 * the first step of the iteration and closed when that is left.
 * @throws what the reader or the judge throw, or the reason of the signal
 */
export async function* follow<T>({
  open,
  reader,
  judge,
  signal,
  onState,
  limits,
}: Followed<T>): AsyncGenerator<T, void, undefined> {
  const backoff = new Backoff(limits.retryMs)
  const tell = onChange(onState)
  tell('connecting')
  try {
    for (;;) {
      signal?.throwIfAborted()
      const connection = new Connection(open(), limits, () => tell('live'))
      const leave = () => connection.close()
      signal?.addEventListener('abort', leave)
      reader.begin()
      try {
        for (;;) {
          const frames = await connection.take()
          if (frames.length === 0) break
          backoff.reset()
          for (const event of reader.read(frames)) {
            signal?.throwIfAborted()
            yield event
          }
        }
      } finally {
        connection.close()
        signal?.removeEventListener('abort', leave)
      }
      if (reader.ended) return
      signal?.throwIfAborted()
      const next = isOwnDoing(connection) ? 'at_once' : await judge(connection)
      if (next === 'end') return
      if (next === 'at_once') {
        backoff.reset()
        continue
      }
      signal?.throwIfAborted()
      tell('reconnecting')
      await backoff.wait(signal)
    }
  } finally {
    tell('closed')
  }
}

/** Given up by this side, because more came than the consumer could take, or nothing for long. */
const isOwnDoing = ({ ending, opened }: Connection): boolean =>
  ending.type === 'overflow' || (ending.type === 'timed_out' && opened)

/** Hands on what is new only. */
function onChange(onState: ((state: WatchState) => void) | undefined): (state: WatchState) => void {
  let last: WatchState | undefined
  return (state) => {
    if (state === last) return
    last = state
    onState?.(state)
  }
}
