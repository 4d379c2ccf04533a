import type { FastifyBaseLogger, FastifyRequest } from 'fastify'

/** What the log says of a request: as the framework does, without what lets somebody in. */
export function withSafeRequests(logger: FastifyBaseLogger): FastifyBaseLogger {
  return logger.child({}, { serializers: { req: describe } })
}

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
