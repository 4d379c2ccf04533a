import type { FastifyReply, FastifyRequest } from 'fastify'
import { isKnown } from '../etag.ts'

/** For a day; longer would keep what is redacted meanwhile. */
const CACHED = 'private, max-age=86400, immutable'

/**
 * Marks an answer that stays the same for ever.
 * @returns whether the client has it already: then 304 is all it needs
 */
export function isKnownForEver(
  request: FastifyRequest,
  reply: FastifyReply,
  etag: string,
): boolean {
  reply.header('etag', etag).header('cache-control', CACHED)
  return isKnown(etag, request.headers['if-none-match'])
}
