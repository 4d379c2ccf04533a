import type { FastifyRequest } from 'fastify'
import * as z from 'zod'
import {
  Me,
  NewTokenView,
  permissions,
  RESERVED_NAMES,
  ROLES,
  roleMay,
  TicketView,
  TokenName,
  TokenView,
} from '../../api/auth.ts'
import { CATALOGUE, type Problem } from '../../api/problems.ts'
import type { TokenFailure } from '../../auth/auth.ts'
import { isoTime, tokenView } from '../../auth/token-ledger.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { callerOf } from '../plugins/security.ts'
import {
  BODY_PROBLEMS,
  COMMAND_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { tokenProblem } from '../problems/problem-of.ts'

const DAY_S = 86_400
const MAX_SECONDS = 3650 * DAY_S

/** The body of POST /api/tokens. */
const CreateToken = z
  .strictObject({
    name: TokenName.describe(
      `The principal in the records that the token causes. Each name is used only once; ${RESERVED_NAMES.join(' and ')} are reserved`,
    ),
    role: z.enum(ROLES),
    expires_in: z
      .int()
      .min(1)
      .max(MAX_SECONDS)
      .nullable()
      .default(null)
      .describe('Seconds from now; null: the token does not expire'),
  })
  .meta({
    id: 'CreateToken',
    examples: [{ name: 'ci', role: 'operator', expires_in: 30 * DAY_S }],
  })

const TokenParams = z.object({ id: z.string() })

/** The query of DELETE /api/tokens/{id}. */
const RevokeTokenQuery = z.strictObject({
  reason: z.string().max(1000).optional().describe('Kept in the log'),
})

/** GET and POST /api/tokens, DELETE /api/tokens/{id}, GET /api/me, POST /api/tickets */
export function tokens(app: ZodApp, deps: AppDeps): void {
  listTokens(app, deps)
  createToken(app, deps)
  revokeToken(app, deps)
  me(app)
  createTicket(app, deps)
}

function listTokens(app: ZodApp, { auth, clock }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/tokens',
    config: { needs: 'tokens:read' },
    schema: {
      operationId: 'listTokens',
      tags: ['access'],
      summary: 'All tokens that were ever created, newest first, without their secrets',
      response: { 200: described('All tokens', z.array(TokenView)) },
    },
    handler: async (request, reply) => {
      if (!auth.hasRead) return sendProblem(request, reply, { code: 'tokens_unread' })
      const views = auth.tokens().map((token) => tokenView(token, clock()))
      return views.reverse()
    },
  })
}

function createToken(app: ZodApp, { auth, clock }: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/tokens',
    config: { needs: 'tokens:manage' },
    schema: {
      operationId: 'createToken',
      tags: ['access'],
      summary: 'Create a token',
      description:
        'Only this answer holds the secret of the token. After the first token is created, every request needs ' +
        'a token, so the first one must have the role admin, unless the server has RETRAI_TOKEN.',
      body: CreateToken,
      response: {
        201: described('The token, with its secret', NewTokenView),
        ...problems('invalid_request', 'name_taken', 'admin_needed', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { name, role, expires_in: expiresIn } = request.body
      const created = auth
        .create({ name, role, expiresIn }, callerOf(request).principal)
        .map(({ token, secret }) => {
          reply.code(201).header('cache-control', 'no-store')
          return { ...tokenView(token, clock()), secret }
        })
      return sendResult(request, reply, created.mapErr(problemFor(request)))
    },
  })
}

function revokeToken(app: ZodApp, { auth, clock }: AppDeps): void {
  app.route({
    method: 'DELETE',
    url: '/api/tokens/:id',
    config: { needs: 'tokens:manage' },
    schema: {
      operationId: 'revokeToken',
      tags: ['access'],
      summary: 'Revoke a token',
      description:
        'From then on, all servers of the log refuse the token, and close everything that was opened with it. ' +
        'Revoking it again changes nothing. The last active token with the role admin cannot be revoked, unless ' +
        'the server has RETRAI_TOKEN: create another one first.',
      params: TokenParams,
      querystring: RevokeTokenQuery,
      response: {
        200: described('The token, which is revoked now', TokenView),
        ...problems('invalid_request', 'token_not_found', 'admin_needed', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { reason = null } = request.query
      const revoked = auth
        .revoke(request.params.id, reason, callerOf(request).principal)
        .map((token) => tokenView(token, clock()))
      return sendResult(request, reply, revoked.mapErr(problemFor(request)))
    },
  })
}

const problemFor =
  ({ log }: FastifyRequest) =>
  (error: TokenFailure): Problem => {
    const problem = tokenProblem(error)
    const isOurs = CATALOGUE[problem.code][0] >= 500
    if (isOurs) log.error({ error }, 'the token ledger could not be written')
    return problem
  }

function me(app: ZodApp): void {
  app.route({
    method: 'GET',
    url: '/api/me',
    config: { needs: 'self:read' },
    schema: {
      operationId: 'me',
      tags: ['access'],
      summary: 'The name, the role and the permissions of the caller',
      response: { 200: described('The caller', Me) },
    },
    handler: async (request, reply) => {
      const { principal, role } = callerOf(request)
      reply.header('cache-control', 'no-store')
      return { principal, role, may: permissions().filter((each) => roleMay(role, each)) }
    },
  })
}

function createTicket(app: ZodApp, { auth }: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/tickets',
    config: { needs: 'self:read' },
    schema: {
      operationId: 'createTicket',
      tags: ['access'],
      summary: 'Get a ticket for a WebSocket',
      description:
        'A browser cannot send a header with a WebSocket. A ticket opens one WebSocket on this server, ' +
        'within 30 seconds: as `?ticket=…`, or as the subprotocol `retrai.ticket.…` beside `retrai`. It ' +
        'is valid only once, so it does no harm in a log of addresses.',
      response: {
        201: described('The ticket', TicketView),
        ...problems(...BODY_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { ticket, expiresAt } = auth.tickets.issue(callerOf(request))
      reply.code(201).header('cache-control', 'no-store')
      return { ticket, expires_at: isoTime(expiresAt) }
    },
  })
}
