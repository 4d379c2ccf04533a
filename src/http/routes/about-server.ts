import type { FastifyInstance } from 'fastify'
import { err } from 'neverthrow'
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
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { callerOf, forbidden } from '../plugins/security.ts'
import { invalidFields } from '../problems/problem-of.ts'

/** What the server is, and what a run may have on it. */
export function aboutServer(app: FastifyInstance, deps: AppDeps): void {
  health(app, deps)
  offers(app, deps)
}

function health(app: FastifyInstance, { ready }: AppDeps): void {
  operation(app, 'GET /health/live', {
    needs: null,
    id: 'live',
    tag: 'health',
    summary: 'Whether the server runs',
    answers: { 200: described('It runs', Liveness) },
    handle: () => ({ status: 'ok' }) as const,
  })
  operation(app, 'GET /health/ready', {
    needs: null,
    id: 'ready',
    tag: 'health',
    summary: 'Whether the server can do its work now',
    answers: {
      200: described(
        'The store answers, and the projections have caught up. `integrity` reports if something in the log was changed or removed; the server serves it nevertheless',
        Readiness,
      ),
      503: described('Not yet, or not now', Readiness),
    },
    handle: async (_request, reply) => {
      const readiness = await ready()
      reply.code(readiness.ready ? 200 : 503)
      return readiness
    },
  })
}

function offers(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'GET /api/goals', {
    needs: 'runs:read',
    id: 'listGoals',
    tag: 'goals',
    summary: 'List the goals that a run can have',
    description:
      'With `cwd`, only those that seem to fit the project in that folder of the server, best first. If none fits, the ' +
      'list is empty: a run can still name a goal, or a command of its own in `check`. Only a caller who may start runs ' +
      '(permission `runs:create`) may ask about a folder.',
    query: GoalsQuery,
    answers: { 200: described('The goals of this server', z.array(Goal)) },
    handle: (request) => {
      const { cwd } = request.query
      if (cwd === undefined) return deps.goals
      // The answer says which folders exist, and what they hold.
      const caller = callerOf(request)
      if (!roleMay(caller.role, 'runs:create')) return err(forbidden(caller, 'runs:create'))
      return deps.fittingGoals(cwd).mapErr(invalidFields)
    },
  })
  operation(app, 'GET /api/models', {
    needs: 'runs:read',
    id: 'listModels',
    tag: 'models',
    summary: 'List the models that a run can name',
    description:
      'The models that this server knows, with those that an endpoint of the operator and Ollama report. A run may name others ' +
      'of the same providers too. Those that cannot be called now have a `problem`.',
    answers: { 200: described('The default comes first', z.array(Model)) },
    handle: () => deps.models(),
  })
  operation(app, 'GET /api/mcp-servers', {
    needs: 'runs:read',
    id: 'listMcpServers',
    tag: 'runs',
    summary: 'List the MCP servers that a run can name',
    description:
      'The servers of RETRAI_MCP_SERVERS, and whether a run may bring others (RETRAI_MCP_REQUESTS). Nothing is ' +
      'asked of them: a run lists their tools before its first request to the model.',
    answers: { 200: described('What this server offers', McpOffer) },
    handle: () => deps.mcpOffer,
  })
  operation(app, 'GET /api/approvals', {
    needs: 'runs:read',
    id: 'listServerApprovals',
    tag: 'runs',
    summary: 'List the rules of the server for the calls of every run',
    description:
      'The rules of RETRAI_APPROVALS. A run may have rules of its own: of both lists, the stricter decision counts.',
    answers: { 200: described('The rules; none if the server has none', ServerApprovals) },
    handle: () => ({ rules: deps.serverApprovals }),
  })
  operation(app, 'GET /api/isolation', {
    needs: 'runs:read',
    id: 'showIsolation',
    tag: 'runs',
    summary: 'Show how commands are isolated, and what a run may ask for',
    description:
      'The level, the network and the limits that a run may choose in POST /api/runs. The first request tries the ' +
      'levels that are stricter than that of the server.',
    answers: { 200: described('What this server offers', IsolationOffer) },
    handle: () => deps.isolationOffer(),
  })
}
