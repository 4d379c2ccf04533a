import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { CHUNK } from './chunks.ts'
import type { LiveLimits } from './limits.ts'

/** The responses of this process that go on for as long as there is something to tell. */
export class Streams {
  readonly #limits: Pick<LiveLimits, 'closeMs'>
  readonly #open = new Map<ServerResponse, AbortController>()

  constructor(limits: Pick<LiveLimits, 'closeMs'>) {
    this.#limits = limits
  }

  /**
   * Answers with what `make` yields, no faster than the client takes it. Its signal aborts when the
   * client leaves or the server stops; where `make` throws, the response breaks off.
   */
  send(
    reply: FastifyReply,
    make: (signal: AbortSignal) => AsyncGenerator<Buffer, void, void>,
  ): FastifyReply {
    const leave = new AbortController()
    // A client may have left before there was anything to send: then nothing closes any more.
    if (reply.raw.destroyed) leave.abort()
    else this.#open.set(reply.raw, leave)
    reply.raw.once('close', () => {
      this.#open.delete(reply.raw)
      leave.abort()
    })
    const body = Readable.from(make(leave.signal), { objectMode: false, highWaterMark: CHUNK })
    return reply.send(body)
  }

  /** Ends all responses, and cuts off those that do not end in time. */
  async close(): Promise<void> {
    const cut = setTimeout(() => {
      for (const response of this.#open.keys()) response.destroy()
    }, this.#limits.closeMs)
    await Promise.all(
      [...this.#open].map(([response, leave]) => {
        leave.abort()
        return once(response, 'close')
      }),
    )
    clearTimeout(cut)
  }
}
