import { once } from 'node:events'
import WebSocket from 'ws'
import { within } from '../../support/within.ts'
import type { TestServer } from '../support.ts'

/** An observer of all runs over a WebSocket, which keeps what it gets. */
export class FeedWatcher {
  readonly socket: WebSocket
  readonly frames: Record<string, unknown>[] = []
  readonly #closed: Promise<number>

  constructor({ port }: Pick<TestServer, 'port'>, search = '') {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/api/ws?${search}`)
    this.socket.on('error', () => {})
    this.socket.on('message', (data: Buffer) => {
      this.frames.push(JSON.parse(data.toString()) as Record<string, unknown>)
    })
    this.#closed = new Promise((resolve) => this.socket.once('close', resolve))
  }

  /** The code with which the socket closes. */
  get closed(): Promise<number> {
    return within(this.#closed, () => `a WebSocket to close after ${this.frames.length} frames`)
  }

  /** Resolves after so many frames; rejects if the socket closes before. */
  async have(count: number): Promise<void> {
    while (this.frames.length < count) {
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(`closed with ${this.frames.length} of ${count} frames`)
      }
      const next = Promise.race([once(this.socket, 'message'), this.#closed])
      await within(next, () => `${count} frames; there are ${this.frames.length}`)
    }
  }
}
