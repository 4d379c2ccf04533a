import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * An entity tag.
 * @param name the revision or the range that the reply is about
 * @param redactions how often texts of the run were redacted: each time, what was derived from it changes
 */
export const entityTag = (name: string | number, redactions: number): string =>
  redactions === 0 ? `"${name}"` : `"${name}-r${redactions}"`

/** Adds the tag to the reply. @returns whether the client has this version already, so that 304 is enough */
export function isKnown(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  reply.header('etag', etag)
  const known = request.headers['if-none-match']
  if (known === undefined) return false
  // RFC 9110 compares weakly here.
  const tags = known.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}

/**
 * The same for a reply that changes only if a text is redacted. The client keeps it, but asks each time, because it must
 * not show a text that was redacted since.
 */
export function isKnownStill(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  reply.header('cache-control', 'private, no-cache')
  return isKnown(request, reply, etag)
}
