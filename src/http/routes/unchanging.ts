import type { FastifyReply, FastifyRequest } from 'fastify'
import { isKnown } from '../etag.ts'

/** It is kept, and asked about each time: what was taken out of a run since must not be shown again. */
const CACHED = 'private, no-cache'

/**
 * Marks an answer that stays the same unless something is taken out of the run, which `etag` tells.
 * @returns whether the client has it already: then 304 is all it needs
 */
export function isKnownStill(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  reply.header('etag', etag).header('cache-control', CACHED)
  return isKnown(etag, request.headers['if-none-match'])
}
