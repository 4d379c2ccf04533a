import { Signal } from '../lib/signal.ts'
import type { ClientLimits } from './limits.ts'

/** How a connection ended: by the server or the network, or given up by this side. */
export type Ending =
  | { readonly type: 'closed'; readonly code: number; readonly reason: string }
  /** More came than the consumer could take. */
  | { readonly type: 'overflow' }
  /** It never opened, or nothing came for long. */
  | { readonly type: 'timed_out' }
  | { readonly type: 'left' }

/** One WebSocket and the frames that wait in it. */
export class Connection {
  readonly #socket: WebSocket
  readonly #limits: ClientLimits
  readonly #abort = new AbortController()
  #timer: ReturnType<typeof setTimeout>
  #waiting: string[] = []
  /** Characters that wait, and those of the batch that the consumer is busy with. */
  #chars = 0
  #taken = 0
  #heard = true
  #opened = false
  #ending: Ending | null = null
  readonly #news = new Signal()

  /** @param onOpen called once, if it ever opens */
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
   * The frames that have come, in order, as soon as there are any; none once the connection has ended.
   * Whoever takes the next has done with those before.
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

  /** Known as soon as `take` has given none. */
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
