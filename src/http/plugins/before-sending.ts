import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'

/**
 * What is common to all answers: a client that does not read its answer for `stallMs` is disconnected, the rest of a
 * refused body is read, and answers that are ready together are written together.
 */
export const beforeSending = fp<{ readonly stallMs: number }>(
  async (app, { stallMs }) => {
    // Node checks progress once in each stallMs, so this takes up to twice as long.
    function watchStall(this: ServerResponse): void {
      if (this.writableLength > 0) this.destroy()
      // Only the server has nothing to send.
      else this.setTimeout(stallMs)
    }
    const turn = new Turn()
    app.addHook('onSend', ({ raw }, { raw: response }, _payload, done) => {
      response.setTimeout(stallMs, watchStall)
      if (isUnread(raw)) void discardUnreadBody(raw).then(() => done(), done)
      else turn.write(done)
    })
  },
  { name: 'before-sending' },
)

type Write = (failure?: Error) => void

/**
 * One turn of the event loop. The first answer is written at once, the others after all requests of the turn.
 * Otherwise, each answer would wake a client that had just gone to sleep, which costs both sides more than the answer.
 */
class Turn {
  /** Null before the first answer. */
  #held: Write[] | null = null

  write(write: Write): void {
    if (this.#held !== null) {
      this.#held.push(write)
      return
    }
    this.#held = []
    setImmediate(() => this.#end())
    write()
  }

  #end(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const write of held) {
      try {
        write()
      } catch (error) {
        // Like the framework if a handler throws: this answer becomes a problem document.
        write(error instanceof Error ? error : new Error(String(error)))
      }
    }
  }
}

/** How much of a refused body the server reads before it answers, bytes. */
const DISCARD_BYTES = 16 * 1024 * 1024
/** How long it reads, milliseconds. */
const DISCARD_MS = 2000

/**
 * Reads the rest of a body that was refused; to be called before the response is sent. Otherwise a connection that
 * closes after the response resets while the client still writes, and the client never sees why it was refused.
 * Resolves at the end of the body, at one of the limits, or when the client leaves.
 */
export async function discardUnreadBody(request: IncomingMessage): Promise<void> {
  if (!isUnread(request)) return
  const ended = new AbortController()
  const end = (): void => ended.abort()
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > DISCARD_BYTES) end()
  })
  for (const event of ['end', 'close', 'error']) request.once(event, end)
  await sleep(DISCARD_MS, undefined, { signal: ended.signal }).catch(() => undefined)
}

const isUnread = (request: IncomingMessage): boolean =>
  !request.complete && hasBody(request) && !request.destroyed

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > 0
