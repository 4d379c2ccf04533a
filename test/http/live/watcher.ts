import { once } from 'node:events'
import WebSocket from 'ws'
import * as z from 'zod'
import { within } from '../../support/within.ts'
import type { TestServer } from '../support.ts'

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

/** An observer: a real WebSocket client that keeps what it gets. */
export class Watcher {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  readonly #notices: Notice[] = []
  /** The bytes of each frame as they came. */
  readonly texts: string[] = []
  readonly #closed: Promise<{ readonly code: number; readonly reason: string }>

  constructor(
    { port }: Pick<TestServer, 'port'>,
    path: string,
    options: WebSocket.ClientOptions = {},
    protocols: string[] = [],
  ) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/api/ws/${path}`, protocols, options)
    this.socket.on('error', () => {})
    this.socket.on('message', (data: Buffer) => {
      const text = data.toString()
      this.texts.push(text)
      const json: unknown = JSON.parse(text)
      const notice = Notice.safeParse(json)
      if (notice.success) this.#notices.push(notice.data)
      else this.frames.push(Frame.parse(json))
    })
    this.#closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  get seqs(): number[] {
    return this.frames.map(({ seq }) => seq)
  }

  /** Resolves when the socket is open. */
  async opened(): Promise<void> {
    await within(once(this.socket, 'open'), () => 'a WebSocket to open')
  }

  /** How the socket closes. */
  get closed(): Promise<{ readonly code: number; readonly reason: string }> {
    return within(this.#closed, () => `a WebSocket to close; ${this.#soFar(this.frames)}`)
  }

  /** Resolves when it has this many frames; rejects if the socket closes before. */
  have(count: number): Promise<void> {
    return this.#haveIn(this.frames, count)
  }

  /** The frames that are not records, when there are this many. */
  async notices(count: number): Promise<readonly Notice[]> {
    await this.#haveIn(this.#notices, count)
    return this.#notices
  }

  #soFar(received: readonly unknown[]): string {
    return `there are ${received.length} frames, the last: ${this.texts.at(-1) ?? 'nothing'}`
  }

  async #haveIn(received: readonly unknown[], count: number): Promise<void> {
    while (received.length < count) {
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(`closed with ${received.length} of ${count} frames`)
      }
      const next = Promise.race([once(this.socket, 'message'), this.#closed])
      await within(next, () => `${count} frames; ${this.#soFar(received)}`)
    }
  }
}
