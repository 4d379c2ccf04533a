import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * What a JSON page may cost: it ends before one of these is passed, and its Link header continues after it. A
 * record that is larger by itself is a page of its own.
 */
export const MAX_PAGE_BYTES = 512 * 1024
const MAX_LOOKED_AT = 50_000

/** Collects the frames of one page. */
export class JsonPage {
  readonly #frames: string[] = []
  readonly #limit: number
  #bytes = 2
  #lookedAt = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Adds a frame unless the page has no room for it: then it returns false, and the page ends before it.
   * @param frame null for a record that is not wanted
   */
  add(frame: string | null): boolean {
    if (frame !== null) {
      const bytes = Buffer.byteLength(frame) + 1
      if (this.#frames.length > 0 && this.#bytes + bytes > MAX_PAGE_BYTES) return false
      this.#frames.push(frame)
      this.#bytes += bytes
    }
    this.#lookedAt += 1
    return true
  }

  get empty(): boolean {
    return this.#lookedAt === 0
  }

  get full(): boolean {
    return this.#frames.length >= this.#limit || this.#lookedAt >= MAX_LOOKED_AT
  }

  /** @param next the `after` of the next page; null where there is none */
  send(request: FastifyRequest, reply: FastifyReply, next: string | null): FastifyReply {
    if (next !== null) reply.header('link', nextLink(request.url, next))
    const body = `[${this.#frames.join(',')}]`
    return reply.type('application/json; charset=utf-8').serializer(asItIs).send(body)
  }
}

const asItIs = (body: string): string => body

function nextLink(url: string, after: string): string {
  const [path, query] = url.split('?')
  const next = new URLSearchParams(query)
  next.set('after', after)
  return `<${path}?${next}>; rel="next"`
}
