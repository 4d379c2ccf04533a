import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Makes the JSON of values that never change, once for each value while it is in use. This JSON is not checked against
 * the schema of the response again: the types and the tests do that.
 */
export function jsonOnce<T extends object>(view: (value: T) => unknown): (value: T) => string {
  const made = new WeakMap<T, string>()
  return (value) => {
    const known = made.get(value)
    if (known !== undefined) return known
    const json = JSON.stringify(view(value))
    made.set(value, json)
    return json
  }
}

/** Answers with JSON that is text already. */
export function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').serializer(asItIs).send(json)
}

const asItIs = (body: string): string => body

/**
 * The limits of a JSON page: it ends before it passes one of them, and its Link header continues after it. A record
 * that is larger by itself is a page of its own.
 */
export const MAX_PAGE_BYTES = 512 * 1024
const MAX_LOOKED_AT = 50_000

/** Collects the frames of one page. */
export class JsonPage {
  readonly #frames: string[] = []
  readonly #limit: number
  #bytes = 2
  #lookedAt = 0
  /** The `after` of the next page. */
  #next = ''

  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Adds the frame of a record. Returns whether the page ends: after the record or, if it has no room for it, before it.
   * @param frame null for a record that was not selected
   * @param place the `after` of a page that begins after the record
   */
  add(frame: string | null, place: string | number): boolean {
    if (frame !== null) {
      const bytes = Buffer.byteLength(frame) + 1
      if (this.#frames.length > 0 && this.#bytes + bytes > MAX_PAGE_BYTES) return true
      this.#frames.push(frame)
      this.#bytes += bytes
    }
    this.#lookedAt += 1
    this.#next = String(place)
    return this.left <= 0 || this.#lookedAt >= MAX_LOOKED_AT
  }

  get empty(): boolean {
    return this.#lookedAt === 0
  }

  /** How many more frames it takes at most. */
  get left(): number {
    return this.#limit - this.#frames.length
  }

  /** Sends a page that is not the last: its Link header leads to the next. */
  send(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    return this.sendLast(reply.header('link', nextLink(request.url, this.#next)))
  }

  sendLast(reply: FastifyReply): FastifyReply {
    return sendJson(reply, `[${this.#frames.join(',')}]`)
  }
}

function nextLink(url: string, after: string): string {
  const [path = ''] = url.split('?', 1)
  const next = new URLSearchParams(url.slice(path.length))
  next.set('after', after)
  return `<${path}?${next}>; rel="next"`
}
