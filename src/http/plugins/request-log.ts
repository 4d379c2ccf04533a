import {
  type FastifyBaseLogger,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'

/** Logs the fields of a request that the framework logs, without secrets. */
export function withSafeRequests(logger: FastifyBaseLogger): FastifyBaseLogger {
  return logger.child({}, { serializers: { req: describe } })
}

/**
 * Logs one line for each request when it is complete. It logs a WebSocket when a client asks for it, because the socket
 * may stay open for days. It logs successful probes at the level debug.
 */
export class RequestLog extends LogController {
  override incomingRequest(request: FastifyRequest): void {
    if (request.headers.upgrade !== undefined)
      request.log.info({ req: request }, 'upgrade requested')
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

const isProbe = ({ url }: FastifyRequest): boolean => url.startsWith('/health/')

function describe({ method, url, host, ip, socket }: FastifyRequest) {
  const { remotePort } = socket
  return { method, url: withoutSecrets(url), host, remoteAddress: ip, remotePort }
}

const REMOVED = '[removed]'

/** A ticket may be in an address. A token may not, but somebody may put it there by mistake. */
const withoutSecrets = (url: string): string =>
  url
    .replace(/([?&](?:ticket|token|access_token)=)[^&#]*/gi, `$1${REMOVED}`)
    .replace(/retrai_[\w-]{8,}/g, REMOVED)
