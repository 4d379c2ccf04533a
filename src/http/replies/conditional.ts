import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Redactions } from '../deps.ts'

/**
 * The entity tag of a run. Each time a text of one is redacted, what was derived from it changes. Call it
 * before the reply is read: a tag that is too old only makes the client ask again.
 * @param name the revision that the reply is about
 */
export function entityTag(name: string, runIds: readonly string[], redactions: Redactions): string {
  const redacted = runIds.flatMap((id) => redactions.ofRun(id))
  if (redacted.length === 0) return `"${name}"`
  // Until then, the reply may still hold the text.
  const isPending = runIds.some((id) => redactions.isPending(id))
  return `"${name}-r${redacted.length}${isPending ? '-pending' : ''}"`
}

/** Adds the tag to the reply. @returns whether the client has this version already, so that 304 is enough */
export function isKnown(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  reply.header('etag', etag)
  const known = request.headers['if-none-match']
  if (known === undefined) return false
  // RFC 9110 compares weakly here.
  const tags = known.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}
