import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { serializerCompiler } from 'fastify-type-provider-zod'
import { maxHeaderSize } from '../lib/node-http.ts'
import type { AppDeps } from './deps.ts'
import { LIVE_LIMITS } from './live/deps.ts'
import { addLive, type Live } from './live/live.ts'
import { logAccesses } from './plugins/access-log.ts'
import { limitConnections, limitSockets } from './plugins/admission.ts'
import { beforeSending, compressAnswers, endOutdatedAnswers } from './plugins/answers.ts'
import { handleNotFound, refuseConnection, refuseExpectation, sendError } from './plugins/errors.ts'
import { describeApi } from './plugins/openapi.ts'
import { serveConsole, serveDocs } from './plugins/pages.ts'
import { guard, requirePermissions } from './plugins/security.ts'
import { acceptJsonOnly, readRunIds, validatorCompiler } from './plugins/validation.ts'
import { aboutServer, metrics } from './routes/about-server.ts'
import { createRun } from './routes/create-run.ts'
import { events } from './routes/events.ts'
import { files } from './routes/files.ts'
import { history } from './routes/history.ts'
import { ledgers, log } from './routes/ledgers.ts'
import { checkpoints, proofs } from './routes/proofs.ts'
import { redactions, retention } from './routes/removals.ts'
import { runCommands, sendMessage } from './routes/run-commands.ts'
import { runs, search } from './routes/runs.ts'
import { sockets } from './routes/sockets.ts'
import { tokens } from './routes/tokens.ts'
import { webhooks } from './routes/webhooks.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** A request must arrive within this time. */
const REQUEST_TIMEOUT_MS = 30_000

const ROUTES = [
  createRun,
  runs,
  runCommands,
  sendMessage,
  history,
  search,
  redactions,
  files,
  retention,
  webhooks,
  aboutServer,
  tokens,
]
const AUDIT_ROUTES = [proofs, checkpoints, log, ledgers]

/** The whole HTTP side of the server, WebSockets included. It does not listen yet. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const app = fastify({
    ...(deps.logger === undefined ? {} : { loggerInstance: withSafeRequests(deps.logger) }),
    logController: new RequestLog(),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    frameworkErrors: sendError,
    clientErrorHandler: refuseConnection,
    // A parameter in an address may have any length, so that a wrong id is reported as unknown.
    routerOptions: { maxParamLength: maxHeaderSize },
    http: {
      // Node would refuse a request without it and send no problem document. The security plugin sends one.
      requireHostHeader: false,
      // A client that offers HTTP/2 gets HTTP/1.1.
      shouldUpgradeCallback: ({ headers }) => /^websocket$/i.test(headers.upgrade ?? ''),
    },
  })
  app.server.on('checkExpectation', refuseExpectation)
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(sendError)
  const limits = { ...LIVE_LIMITS, ...deps.live }
  limitConnections(app, limits)
  beforeSending(app, limits)
  compressAnswers(app)
  requirePermissions(app)
  if (deps.accessLog !== undefined) logAccesses(app, deps.accessLog)
  endOutdatedAnswers(app, deps.redactions, limits)
  const live = await addLive(app, deps, limits)
  guard(app, deps.auth)
  limitSockets(app, limits)
  acceptJsonOnly(app)
  handleNotFound(app)
  readRunIds(app, deps.retention)
  await describeApi(app)
  // A hook applies only to routes that are added after it.
  addRoutes(app, deps, live)
  serveDocs(app)
  await serveConsole(app)
  return app
}

function addRoutes(app: FastifyInstance, deps: AppDeps, live: Live): void {
  for (const route of ROUTES) route(app, deps)
  metrics(app, deps, live)
  for (const route of [events, sockets]) route(app, live)
  for (const route of AUDIT_ROUTES) route(app, deps.audit)
}

/** Logs the fields of a request that the framework logs, without secrets. */
function withSafeRequests(logger: FastifyBaseLogger): FastifyBaseLogger {
  return logger.child({}, { serializers: { req: describe } })
}

/**
 * Logs one line for each request when it is complete. It logs a WebSocket when a client asks for it, because the socket
 * may stay open for days. It logs successful probes at the level debug.
 */
class RequestLog extends LogController {
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

const isProbe = ({ url }: FastifyRequest): boolean =>
  url.startsWith('/health/') || url === '/metrics'

function describe({ method, url, host, ip, socket }: FastifyRequest) {
  const { remotePort } = socket
  return { method, url: withoutSecrets(url), host, remoteAddress: ip, remotePort }
}

const REMOVED = '[removed]'

/** A ticket may be in an address, and what somebody searches for. A token may not, but may be there by mistake. */
const withoutSecrets = (url: string): string =>
  url
    .replace(/([?&](?:ticket|token|access_token|q)=)[^&#]*/gi, `$1${REMOVED}`)
    .replace(/retrai_[\w-]{8,}/g, REMOVED)
