import type { FastifyReply } from 'fastify'
import type { Chunks } from './chunks.ts'

export const EVENT_STREAM = 'text/event-stream'

/** What a browser is told to wait before it connects again, milliseconds. */
const RETRY_MS = 1000
export const SSE_START = Buffer.from(`retry: ${RETRY_MS}\n\n`)

/** Adds a frame as a server-sent event. It has no name, so that browsers hand it to `onmessage`. */
export function addEvent(chunks: Chunks, id: string, frame: Buffer): void {
  chunks.addText(`id: ${id}\ndata: `)
  chunks.add(frame)
  chunks.addText('\n\n')
}

/** Adds an event with a name, which is no record. */
export function addNotice(chunks: Chunks, name: string, data: Buffer, id?: string): void {
  chunks.addText(`${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: `)
  chunks.add(data)
  chunks.addText('\n\n')
}

/** A sign of life. The id moves the cursor of the client past what it did not ask for. */
export const sseHeartbeat = (id: string | null): Buffer => {
  return Buffer.from(id === null ? ':\n\n' : `:\nid: ${id}\n\n`)
}

/** Headers of an event stream. */
export function beginEventStream(reply: FastifyReply): FastifyReply {
  return reply
    .type(EVENT_STREAM)
    .header('cache-control', 'no-store')
    .header('x-accel-buffering', 'no')
}

/** What the source yields, and null whenever it has yielded nothing for so long. */
export async function* withHeartbeat<T>(
  source: AsyncGenerator<T, void, void>,
  everyMs: number,
): AsyncGenerator<T | null, void, void> {
  try {
    for (;;) {
      let wake = () => {}
      let settled = false
      const next = source.next().finally(() => {
        settled = true
        wake()
      })
      // Its failure is met below, where it is awaited.
      next.catch(() => {})
      while (!settled) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, everyMs)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        if (!settled) yield null
      }
      const { done, value } = await next
      if (done) return
      yield value
    }
  } finally {
    await source.return()
  }
}
