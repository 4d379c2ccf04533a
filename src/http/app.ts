import { maxHeaderSize } from 'node:http'
import fastify, { type FastifyInstance } from 'fastify'
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import type { AppDeps } from './deps.ts'
import { LIVE_LIMITS } from './live/limits.ts'
import { livePlugin } from './live/live-plugin.ts'
import { logAccesses } from './plugins/access-log.ts'
import { limitSockets } from './plugins/admission.ts'
import { limitConnections } from './plugins/connections.ts'
import { serveConsole } from './plugins/console.ts'
import { describeApi, serveDocs } from './plugins/docs.ts'
import { handleNotFound, refuseConnection, refuseExpectation, sendError } from './plugins/errors.ts'
import { acceptJsonOnly } from './plugins/json-body.ts'
import { insistOnPermissions } from './plugins/permission.ts'
import { RequestLog, withSafeRequests } from './plugins/request-log.ts'
import { guard } from './plugins/security.ts'
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

const BODY_LIMIT = 1024 * 1024
/** A request that has not arrived in full by then is dropped, milliseconds. */
const REQUEST_TIMEOUT = 30_000

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
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT,
    frameworkErrors: sendError,
    clientErrorHandler: refuseConnection,
    // A text of any length may stand in an address, so that a wrong id is an unknown one.
    routerOptions: { maxParamLength: maxHeaderSize },
    http: {
      // What Node refuses by itself would be no problem document: the guard does it.
      requireHostHeader: false,
      // Who offers HTTP/2 is answered as if they had not.
      shouldUpgradeCallback: ({ headers }) => /^websocket$/i.test(headers.upgrade ?? ''),
    },
  })
  app.server.on('checkExpectation', refuseExpectation)
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(sendError)
  limitConnections(app, { ...LIVE_LIMITS, ...deps.live })
  insistOnPermissions(app)
  if (deps.accessLog !== undefined) logAccesses(app, deps.accessLog)
  const live = await livePlugin(app, deps)
  guard(app, deps.access)
  limitSockets(app, { ...LIVE_LIMITS, ...deps.live })
  acceptJsonOnly(app)
  handleNotFound(app)
  await describeApi(app)
  const typed = app.withTypeProvider<ZodTypeProvider>()
  for (const route of ROUTES) route(typed, deps)
  for (const route of LIVE_ROUTES) route(typed, live)
  if (deps.audit !== undefined) for (const route of AUDIT_ROUTES) route(typed, deps.audit)
  serveDocs(app)
  await serveConsole(app)
  return app
}
