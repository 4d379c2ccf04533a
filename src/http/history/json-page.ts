import type { FastifyReply, FastifyRequest } from 'fastify'

/** What a JSON page may cost: it ends where one of these is reached, and tells where to go on. */
const MAX_LENGTH = 8 * 1024 * 1024
const MAX_LOOKED_AT = 50_000

/** Collects the frames of one page. */
export class JsonPage {
  readonly #frames: string[] = []
  readonly #limit: number
  #length = 0
  #lookedAt = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** @param frame null for a record that is not wanted */
  add(frame: string | null): void {
    this.#lookedAt += 1
    if (frame === null) return
    this.#frames.push(frame)
    this.#length += frame.length
  }

  get empty(): boolean {
    return this.#lookedAt === 0
  }

  get full(): boolean {
    return (
      this.#frames.length >= this.#limit ||
      this.#length >= MAX_LENGTH ||
      this.#lookedAt >= MAX_LOOKED_AT
    )
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
