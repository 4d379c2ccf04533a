import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** Sends what is made while it is read. Where that fails, the connection breaks off. */
export function sendStream(reply: FastifyReply, type: string, stream: Readable): FastifyReply {
  return reply.type(type).send(stream)
}
