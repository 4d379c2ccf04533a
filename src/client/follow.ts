import { Backoff } from '../lib/backoff.ts'
import { Signal } from '../lib/signal.ts'
import type { ClientLimits } from './call.ts'
import type { Kinds } from './events.ts'

/** `connecting` at first, `live` while the server can send, `reconnecting` after a disconnect, `closed` at the end. */
export type WatchState = 'connecting' | 'live' | 'reconnecting' | 'closed'

/** The options of every watch. */
export type FollowOptions<S extends Kinds | undefined, L extends boolean | undefined> = {
  readonly kinds?: S
  /** Each event also has `id` and `meta`, which are stored beside its record. */
  readonly meta?: boolean | undefined
  /** Also yields what is being written and is not a record yet: `part` and `parts_end`. `partsAfter` joins the pieces. */
  readonly live?: L
  /** Ends the watch: the iteration rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined
  readonly onState?: ((state: WatchState) => void) | undefined
}

/** What a watch does after a connection has ended: it is over, or it connects again. */
export type Next = 'end' | 'later'

/** What is followed, over one connection after another. */
type Followed<T> = {
  /** Opens a WebSocket that begins after everything that has been read. */
  readonly open: () => WebSocket
  readonly reader: {
    /** To be called for a new connection. */
    begin(): void
    read(frames: readonly string[]): Iterable<T>
    /** No more events can come. */
    readonly ended: boolean
  }
  /** Decides what to do after a connection has ended. @throws if connecting again would not help */
  readonly judge: (connection: Connection) => Promise<Next>
  readonly signal: AbortSignal | undefined
  readonly onState: ((state: WatchState) => void) | undefined
  readonly limits: ClientLimits
}

/**
 * The events that a reader finds in the frames of a server. A lost connection is opened again. The first step of the
 * iteration opens the connection, and its end closes it.
 * @throws what `reader` or `judge` throws, or the reason of the signal
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
  let last: WatchState | null = null
  const report = (state: WatchState): void => {
    if (state !== last) onState?.(state)
    last = state
  }
  report('connecting')
  try {
    for (;;) {
      signal?.throwIfAborted()
      const connection = new Connection(open(), limits, () => report('live'))
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
      if (wasGivenUp(connection)) {
        backoff.reset()
        continue
      }
      if ((await judge(connection)) === 'end') return
      signal?.throwIfAborted()
      report('reconnecting')
      await backoff.wait(signal)
    }
  } finally {
    report('closed')
  }
}

/** Whether this side gave up the connection, because more came than the consumer could take, or nothing for a while. */
const wasGivenUp = ({ ending, opened }: Connection): boolean =>
  ending.type === 'overflow' || (ending.type === 'timed_out' && opened)

/** How a connection ended: closed by the server or the network, or given up by this side. */
export type Ending =
  | { readonly type: 'closed'; readonly code: number; readonly reason: string }
  /** More came than the consumer could take. */
  | { readonly type: 'overflow' }
  /** It never opened, or nothing came for a while. */
  | { readonly type: 'timed_out' }
  | { readonly type: 'left' }

/** One WebSocket and the frames that its consumer has not taken yet. */
export class Connection {
  readonly #socket: WebSocket
  readonly #limits: ClientLimits
  readonly #abort = new AbortController()
  #timer: ReturnType<typeof setTimeout>
  #waiting: string[] = []
  /** Characters that were not taken yet, with those of the batch that the consumer works on. */
  #chars = 0
  #taken = 0
  #heard = true
  #opened = false
  #ending: Ending | null = null
  readonly #news = new Signal()

  /** @param onOpen is called once, if it opens */
  constructor(socket: WebSocket, limits: ClientLimits, onOpen: () => void) {
    this.#socket = socket
    this.#limits = limits
    const { signal } = this.#abort
    socket.addEventListener('open', () => this.#open(onOpen), { signal })
    socket.addEventListener('message', ({ data }) => this.#add(String(data)), { signal })
    socket.addEventListener(
      'close',
      ({ code, reason }) => this.#end({ type: 'closed', code, reason }),
      { signal },
    )
    this.#timer = setTimeout(() => this.#end({ type: 'timed_out' }), limits.connectMs)
  }

  get opened(): boolean {
    return this.#opened
  }

  /**
   * Waits for frames and returns them in order; none if the connection has ended. Taking the next frames means that
   * the consumer has finished those before.
   */
  async take(): Promise<readonly string[]> {
    this.#chars -= this.#taken
    this.#taken = 0
    while (this.#waiting.length === 0 && this.#ending === null) {
      await this.#news.wait(this.#abort.signal)
    }
    const batch = this.#waiting
    this.#waiting = []
    this.#taken = this.#chars
    return batch
  }

  /** Known when `take` has returned no frames. */
  get ending(): Ending {
    return this.#ending ?? { type: 'left' }
  }

  close(): void {
    this.#end({ type: 'left' })
  }

  #open(onOpen: () => void): void {
    this.#opened = true
    clearTimeout(this.#timer)
    this.#timer = setInterval(() => this.#listen(), this.#limits.silenceMs)
    onOpen()
  }

  #listen(): void {
    if (!this.#heard) this.#end({ type: 'timed_out' })
    this.#heard = false
  }

  #add(text: string): void {
    this.#heard = true
    this.#waiting.push(text)
    this.#chars += text.length
    if (this.#chars > this.#limits.bufferChars) this.#end({ type: 'overflow' })
    this.#news.notify()
  }

  #end(ending: Ending): void {
    if (this.#ending !== null) return
    this.#ending = ending
    clearTimeout(this.#timer)
    this.#abort.abort()
    if (ending.type !== 'closed') this.#socket.close(1000)
    this.#news.notify()
  }
}
