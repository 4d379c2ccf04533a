import { once } from 'node:events'
import WebSocket from 'ws'
import { z } from 'zod'
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

/** An observer: a real WebSocket client that keeps what it gets. */
export class Watcher {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  /** The bytes of each frame as they came. */
  readonly texts: string[] = []
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>

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
      this.frames.push(Frame.parse(JSON.parse(text)))
    })
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  get seqs(): number[] {
    return this.frames.map(({ seq }) => seq)
  }

  /** Resolves as soon as so many frames are here; rejects when the socket closes before. */
  async have(count: number): Promise<void> {
    while (this.frames.length < count) {
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(`closed with ${this.frames.length} of ${count} frames`)
      }
      await Promise.race([once(this.socket, 'message'), this.closed])
    }
  }
}
