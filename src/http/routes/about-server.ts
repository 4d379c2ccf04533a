import * as z from 'zod'
import {
  Goal,
  IsolationOffer,
  Liveness,
  McpOffer,
  Model,
  Readiness,
  ServerApprovals,
} from '../../api/about-server.ts'
import { roleMay } from '../../api/auth.ts'
import { GoalsQuery } from '../../api/run-requests.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { callerOf, forbidden } from '../plugins/security.ts'
import { described, problems, sendProblem, sendResult } from '../problems/problem.ts'
import { invalidFields } from '../problems/problem-of.ts'

export const aboutServer = [
  health,
  listGoals,
  listModels,
  listMcpServers,
  listServerApprovals,
  showIsolation,
]

/** GET /health/live and GET /health/ready. They need no token. */
function health(app: ZodApp, { ready }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/health/live',
    schema: {
      operationId: 'live',
      tags: ['health'],
      summary: 'Whether the server runs',
      security: [],
      response: { 200: described('It runs', Liveness) },
    },
    handler: async () => ({ status: 'ok' }) as const,
  })
  app.route({
    method: 'GET',
    url: '/health/ready',
    schema: {
      operationId: 'ready',
      tags: ['health'],
      summary: 'Whether the server can do its work now',
      security: [],
      response: {
        200: described(
          'The store answers, and the projections have caught up. `integrity` reports if something in the log was changed or removed; the server serves it nevertheless',
          Readiness,
        ),
        503: described('Not yet, or not now', Readiness),
      },
    },
    handler: async (_request, reply) => {
      const readiness = await ready()
      return reply.code(readiness.ready ? 200 : 503).send(readiness)
    },
  })
}

/** GET /api/goals */
function listGoals(app: ZodApp, { goals, fittingGoals }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/goals',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listGoals',
      tags: ['goals'],
      summary: 'List the goals that a run can have',
      description:
        'With `cwd`, only those that seem to fit the project in that folder of the server, best first. If none fits, the ' +
        'list is empty: a run can still name a goal, or a command of its own in `check`. Only a caller who may start runs ' +
        '(permission `runs:create`) may ask about a folder.',
      querystring: GoalsQuery,
      response: {
        200: described('The goals of this server', z.array(Goal)),
        ...problems('invalid_request', 'forbidden'),
      },
    },
    handler: async (request, reply) => {
      const { cwd } = request.query
      if (cwd === undefined) return [...goals]
      // The answer says which folders exist, and what they hold.
      const caller = callerOf(request)
      if (!roleMay(caller.role, 'runs:create')) {
        return sendProblem(request, reply, forbidden(caller, 'runs:create'))
      }
      const found = fittingGoals(cwd).map((fitting) => [...fitting])
      return sendResult(request, reply, found.mapErr(invalidFields))
    },
  })
}

/** GET /api/models */
function listModels(app: ZodApp, { models }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/models',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listModels',
      tags: ['models'],
      summary: 'List the models that a run can name',
      description:
        'The models that this server knows, with those that an endpoint of the operator and Ollama report. A run may name others ' +
        'of the same providers too. Those that cannot be called now have a `problem`.',
      response: { 200: described('The default comes first', z.array(Model)) },
    },
    handler: async () => [...(await models())],
  })
}

/** GET /api/mcp-servers */
function listMcpServers(app: ZodApp, { mcpOffer }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/mcp-servers',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listMcpServers',
      tags: ['runs'],
      summary: 'List the MCP servers that a run can name',
      description:
        'The servers of RETRAI_MCP_SERVERS, and whether a run may bring others (RETRAI_MCP_REQUESTS). Nothing is ' +
        'asked of them: a run lists their tools before its first request to the model.',
      response: { 200: described('What this server offers', McpOffer) },
    },
    handler: async () => mcpOffer,
  })
}

/** GET /api/approvals */
function listServerApprovals(app: ZodApp, { serverApprovals }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/approvals',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listServerApprovals',
      tags: ['runs'],
      summary: 'List the rules of the server for the calls of every run',
      description:
        'The rules of RETRAI_APPROVALS. A run may have rules of its own: of both lists, the stricter decision counts.',
      response: { 200: described('The rules; none if the server has none', ServerApprovals) },
    },
    handler: async () => ({ rules: serverApprovals }),
  })
}

/** GET /api/isolation */
function showIsolation(app: ZodApp, { isolationOffer }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/isolation',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'showIsolation',
      tags: ['runs'],
      summary: 'Show how commands are isolated, and what a run may ask for',
      description:
        'The level, the network and the limits that a run may choose in POST /api/runs. The first request tries the ' +
        'levels that are stricter than that of the server.',
      response: { 200: described('What this server offers', IsolationOffer) },
    },
    handler: () => isolationOffer(),
  })
}
