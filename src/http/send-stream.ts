import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** Sends what is made while it is read. Where that fails, the connection breaks off. */
export function sendStream(reply: FastifyReply, type: string, stream: Readable): FastifyReply {
  breakOffWithLease(reply)
  return reply.type(type).send(stream)
}

/**
 * Cuts off who may not read any more. There is no proper end then: what was sent must not be taken for
 * all there is.
 */
export function breakOffWithLease({ request, raw }: FastifyReply): void {
  const forget = request.lease.onEnd(() => raw.destroy())
  raw.once('close', forget)
}
