import { once } from 'node:events'
import WebSocket from 'ws'
import * as z from 'zod'
import type { TestServer } from '../../support/server.ts'
import { within } from '../../support/within.ts'

const Frame = z.strictObject({
  kind: z.string(),
  run_id: z.string(),
  iteration: z.int(),
  ts: z.number(),
  payload: z.record(z.string(), z.unknown()),
  seq: z.int(),
})
export type Frame = z.infer<typeof Frame>

/** A frame that is not a record. */
const Notice = z.strictObject({ kind: z.literal('caught_up'), run_id: z.string(), seq: z.int() })
type Notice = z.infer<typeof Notice>

/** A real WebSocket client that keeps the frames that it gets. */
export class SocketReader<F> {
  readonly socket: WebSocket
  readonly frames: F[] = []
  /** The bytes of each frame as they came. */
  readonly texts: string[] = []
  readonly #closed: Promise<{ readonly code: number; readonly reason: string }>

  /** @param read returns the frame in a message; null if it is not to be kept */
  constructor(
    { port }: Pick<TestServer, 'port'>,
    path: string,
    read: (json: unknown) => F | null,
    options: WebSocket.ClientOptions = {},
    protocols: string[] = [],
  ) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/api/ws${path}`, protocols, options)
    this.socket.on('error', () => {})
    this.socket.on('message', (data: Buffer) => {
      this.texts.push(data.toString())
      const frame = read(JSON.parse(data.toString()))
      if (frame !== null) this.frames.push(frame)
    })
    this.#closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  /** Resolves when the socket is open. */
  async opened(): Promise<void> {
    await within(once(this.socket, 'open'), () => 'a WebSocket to open')
  }

  /** How the socket closes. */
  get closed(): Promise<{ readonly code: number; readonly reason: string }> {
    return within(this.#closed, () => `a WebSocket to close; ${this.#soFar()}`)
  }

  /** Resolves when it has this many frames; rejects if the socket closes before. */
  have(count: number): Promise<void> {
    return this.until(() => this.frames.length >= count, `${count} frames`)
  }

  /** Resolves when `isThere` returns true; rejects if the socket closes before. */
  async until(isThere: (reader: this) => boolean, what = 'other frames'): Promise<void> {
    while (!isThere(this)) {
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(`closed before ${what}; ${this.#soFar()}`)
      }
      const next = Promise.race([once(this.socket, 'message'), this.#closed])
      await within(next, () => `${what}; ${this.#soFar()}`)
    }
  }

  [Symbol.dispose](): void {
    this.socket.terminate()
  }

  #soFar(): string {
    return `there are ${this.texts.length} frames, the last: ${this.texts.at(-1) ?? 'nothing'}`
  }
}

/** An observer of one run. */
export class Watcher extends SocketReader<Frame> {
  constructor(
    server: Pick<TestServer, 'port'>,
    path: string,
    options?: WebSocket.ClientOptions,
    protocols?: string[],
  ) {
    const read = (json: unknown) => (Notice.safeParse(json).success ? null : Frame.parse(json))
    super(server, `/${path}`, read, options, protocols)
  }

  get seqs(): number[] {
    return this.frames.map(({ seq }) => seq)
  }

  /** The frames that are not records, when there are this many. */
  async notices(count: number): Promise<readonly Notice[]> {
    const noted = () => this.texts.flatMap((text) => Notice.safeParse(JSON.parse(text)).data ?? [])
    await this.until(() => noted().length >= count, `${count} notices`)
    return noted()
  }
}

/** An observer of all runs. */
export class FeedWatcher extends SocketReader<Record<string, unknown>> {
  constructor(server: Pick<TestServer, 'port'>, search = '') {
    super(server, `?${search}`, (json) => json as Record<string, unknown>)
  }
}
