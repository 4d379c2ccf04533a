import { maxHeaderSize } from 'node:http'
import fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import type { AppDeps } from './deps.ts'
import { LIVE_LIMITS } from './live/limits.ts'
import { type Live, livePlugin } from './live/live-plugin.ts'
import { logAccesses } from './plugins/access-log.ts'
import { limitSockets } from './plugins/admission.ts'
import { limitConnections } from './plugins/connections.ts'
import { serveConsole } from './plugins/console.ts'
import { describeApi, serveDocs } from './plugins/docs.ts'
import { handleNotFound, refuseConnection, refuseExpectation, sendError } from './plugins/errors.ts'
import { acceptJsonOnly } from './plugins/json-body.ts'
import { requirePermissions } from './plugins/permission.ts'
import { RequestLog, withSafeRequests } from './plugins/request-log.ts'
import { runParams } from './plugins/run-params.ts'
import { security } from './plugins/security.ts'
import { discardUnreadBodies } from './plugins/unread-body.ts'
import { validatorCompiler } from './plugins/validation.ts'
import { abortRun } from './routes/abort-run.ts'
import { accesses } from './routes/access.ts'
import { allEvents } from './routes/all-events.ts'
import { readArtifact } from './routes/artifacts.ts'
import { checkpoints } from './routes/checkpoints.ts'
import { configureRun } from './routes/configure-run.ts'
import { conversation } from './routes/conversation.ts'
import { createRun } from './routes/create-run.ts'
import { exportRun } from './routes/export.ts'
import { getRun } from './routes/get-run.ts'
import { listGoals } from './routes/goals.ts'
import { health } from './routes/health.ts'
import { keys } from './routes/keys.ts'
import { ledgers } from './routes/ledgers.ts'
import { listRuns } from './routes/list-runs.ts'
import { me } from './routes/me.ts'
import { proveRun } from './routes/proof.ts'
import { redactRun } from './routes/redact-run.ts'
import { resumeRun } from './routes/resume-run.ts'
import { runDiff } from './routes/run-diff.ts'
import { runEvents } from './routes/run-events.ts'
import { tokens } from './routes/tokens.ts'
import { watchAll } from './routes/watch-all.ts'
import { watchRun } from './routes/watch-run.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** A request that has not arrived in full by then is dropped. */
const REQUEST_TIMEOUT_MS = 30_000

const ROUTES = [
  createRun,
  listRuns,
  getRun,
  resumeRun,
  abortRun,
  configureRun,
  redactRun,
  listGoals,
  health,
  runDiff,
  conversation,
  readArtifact,
  me,
  tokens,
]

const AUDIT_ROUTES = [keys, proveRun, exportRun, checkpoints, ledgers, accesses]

const LIVE_ROUTES = [watchRun, watchAll, runEvents, allEvents]

/** The whole HTTP side of the server, WebSockets included. It does not listen yet. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const app = fastify({
    ...(deps.logger === undefined ? {} : { loggerInstance: withSafeRequests(deps.logger) }),
    logController: new RequestLog(),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    frameworkErrors: sendError,
    clientErrorHandler: refuseConnection,
    // An address may hold a text of any length, so that a wrong id is an unknown one.
    routerOptions: { maxParamLength: maxHeaderSize },
    http: {
      // Node would refuse it without a problem document; the security plugin does with one.
      requireHostHeader: false,
      // A client that offers HTTP/2 is answered as if it had not.
      shouldUpgradeCallback: ({ headers }) => /^websocket$/i.test(headers.upgrade ?? ''),
    },
  })
  app.server.on('checkExpectation', refuseExpectation)
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(sendError)
  const limits = { ...LIVE_LIMITS, ...deps.live }
  await app.register(limitConnections, limits)
  await app.register(discardUnreadBodies)
  await app.register(requirePermissions)
  if (deps.accessLog !== undefined) await app.register(logAccesses, { recorder: deps.accessLog })
  const live = await livePlugin(app, deps)
  await app.register(security, { access: deps.access })
  await app.register(limitSockets, limits)
  await app.register(acceptJsonOnly)
  await app.register(handleNotFound)
  await app.register(runParams)
  await app.register(describeApi)
  await app.register(routes, { deps, live })
  await app.register(serveDocs)
  await app.register(serveConsole)
  return app
}

/** All routes of the API. A hook applies only to routes that are added after it, so they come last. */
const routes = fp<{ readonly deps: AppDeps; readonly live: Live }>(
  async (app, { deps, live }) => {
    const typed = app.withTypeProvider<ZodTypeProvider>()
    for (const route of ROUTES) route(typed, deps)
    for (const route of LIVE_ROUTES) route(typed, live)
    if (deps.audit !== undefined) for (const route of AUDIT_ROUTES) route(typed, deps.audit)
  },
  {
    name: 'routes',
    dependencies: [
      'permissions',
      'security',
      'socket-limits',
      'json-bodies',
      'not-found',
      'run-params',
      'descriptions',
    ],
  },
)
