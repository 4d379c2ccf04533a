import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { whenClosed } from '../../lib/when-closed.ts'
import type { LiveLimits } from './limits.ts'

/** About how much is written to a response at once. */
export const CHUNK_BYTES = 256 * 1024

/** Joins small pieces into chunks of about `CHUNK_BYTES`. */
export class Chunks {
  readonly #done: Buffer[] = []
  #memory = Buffer.alloc(0)
  #used = 0

  get full(): boolean {
    return this.#done.length > 0 || this.#used >= CHUNK_BYTES
  }

  get empty(): boolean {
    return this.#done.length === 0 && this.#used === 0
  }

  /** @param text in ASCII */
  addText(text: string): void {
    this.#makeRoom(text.length)
    this.#used += this.#memory.write(text, this.#used, 'latin1')
  }

  add(piece: Buffer): void {
    this.#makeRoom(piece.length)
    this.#used += piece.copy(this.#memory, this.#used)
  }

  take(): Buffer {
    if (this.#used > 0) this.#finish()
    const [first] = this.#done
    const chunk = this.#done.length === 1 && first !== undefined ? first : Buffer.concat(this.#done)
    this.#done.length = 0
    return chunk
  }

  #makeRoom(bytes: number): void {
    if (this.#used + bytes <= this.#memory.length) return
    if (this.#used > 0) this.#finish()
    this.#memory = Buffer.allocUnsafeSlow(Math.max(bytes, CHUNK_BYTES))
  }

  /** A chunk is never written to after it was taken. */
  #finish(): void {
    this.#done.push(this.#memory.subarray(0, this.#used))
    this.#memory = this.#memory.subarray(this.#used)
    this.#used = 0
  }
}

/** The open streaming responses of this process. */
export class ResponseStreams {
  readonly #limits: Pick<LiveLimits, 'closeMs'>
  readonly #open = new Map<ServerResponse, AbortController>()

  constructor(limits: Pick<LiveLimits, 'closeMs'>) {
    this.#limits = limits
  }

  /**
   * Sends what `make` yields, no faster than the client reads. The signal aborts when the client leaves or the
   * server stops. If the generator throws, the response breaks off.
   */
  send(
    reply: FastifyReply,
    make: (signal: AbortSignal) => AsyncGenerator<Buffer, void, void>,
  ): FastifyReply {
    const leave = new AbortController()
    this.#open.set(reply.raw, leave)
    whenClosed(reply.raw, () => {
      this.#open.delete(reply.raw)
      leave.abort()
    })
    const body = Readable.from(make(leave.signal), {
      objectMode: false,
      highWaterMark: CHUNK_BYTES,
    })
    return reply.send(body)
  }

  /** Ends all responses, and destroys those that do not end in time. */
  async close(): Promise<void> {
    const cut = setTimeout(() => {
      for (const response of this.#open.keys()) response.destroy()
    }, this.#limits.closeMs)
    await Promise.all(
      [...this.#open].map(([response, leave]) => {
        leave.abort()
        return new Promise((resolve) => response.on('close', resolve))
      }),
    )
    clearTimeout(cut)
  }
}
