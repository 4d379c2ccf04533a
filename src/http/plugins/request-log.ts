import {
  type FastifyBaseLogger,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'

/** What the log says of a request: as the framework does, without what lets somebody in. */
export function withSafeRequests(logger: FastifyBaseLogger): FastifyBaseLogger {
  return logger.child({}, { serializers: { req: describe } })
}

/**
 * One line for each request, when it is done. A WebSocket is told of when it is asked for: it may stay
 * for days. Probes that find all well are told of at the level debug only.
 */
export class RequestLog extends LogController {
  override incomingRequest(request: FastifyRequest): void {
    if (request.headers.upgrade !== undefined)
      request.log.info({ req: request }, 'upgrade asked for')
  }

  override requestCompleted(
    error: Error | null | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
  ): void {
    const fields = { req: request, res: reply, responseTime: Math.round(reply.elapsedTime) }
    if (error) reply.log.error({ ...fields, err: error }, 'request failed')
    else if (isProbe(request) && reply.statusCode < 400)
      reply.log.debug(fields, 'request completed')
    else reply.log.info(fields, 'request completed')
  }
}

const isProbe = ({ routeOptions }: FastifyRequest): boolean =>
  routeOptions.url?.startsWith('/health/') === true

function describe({ method, url, host, ip, socket }: FastifyRequest) {
  const { remotePort } = socket
  return { method, url: withoutSecrets(url), host, remoteAddress: ip, remotePort }
}

const REMOVED = '[removed]'

/** A ticket belongs into an address; a token does not, but somebody may put it there by mistake. */
const withoutSecrets = (url: string): string =>
  url
    .replace(/([?&](?:ticket|token|access_token)=)[^&#]*/gi, `$1${REMOVED}`)
    .replace(/retrai_[\w-]{8,}/g, REMOVED)
