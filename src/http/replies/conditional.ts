import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Redactions } from '../deps.ts'

/**
 * An entity tag of a reply about runs. Each time a text of one is redacted, what was derived from it changes. Call it
 * before the reply is read: a tag that is too old only makes the client ask again.
 * @param name the revision or the range that the reply is about
 */
export function entityTag(
  name: string | number,
  runIds: readonly string[],
  redactions: Redactions,
): string {
  const redacted = runIds.flatMap((id) => redactions.ofRun(id))
  if (redacted.length === 0) return `"${name}"`
  // Until then, the reply may still hold the text.
  const isPending = runIds.some((id) => redactions.isPending(id))
  return `"${name}-r${redacted.length}${isPending ? '-pending' : ''}"`
}

/**
 * Adds the tag to the reply. @returns whether the client has this version already, so that 304 is enough
 * @param stays the reply changes only if a text is redacted: the client keeps it, but asks each time, because it must
 *   not show a text that was redacted since
 */
export function isKnown(
  request: FastifyRequest,
  reply: FastifyReply,
  etag: string,
  { stays = false } = {},
): boolean {
  if (stays) reply.header('cache-control', 'private, no-cache')
  reply.header('etag', etag)
  const known = request.headers['if-none-match']
  if (known === undefined) return false
  // RFC 9110 compares weakly here.
  const tags = known.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}
