import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'

/** How much of a refused body the server reads before it answers, bytes. */
const DISCARD_BYTES = 16 * 1024 * 1024
/** How long it reads, milliseconds. */
const DISCARD_MS = 2000

/**
 * Reads the rest of a body that was refused before the response is sent. Otherwise a connection that closes after the
 * response resets while the client still writes, and the client never sees why it was refused.
 */
export const discardUnreadBodies = fp(
  async (app) => {
    app.addHook('onSend', ({ raw }, _reply, _payload, done) => {
      if (isUnread(raw)) void discardUnreadBody(raw).then(() => done(), done)
      else done()
    })
  },
  { name: 'unread-bodies' },
)

/** Resolves at the end of the body, at one of the limits, or when the client leaves. */
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
