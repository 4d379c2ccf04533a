import type { FastifyRequest } from 'fastify'
import * as z from 'zod'
import { Me, NewTokenView, TicketView, TokenView } from '../../api/auth.ts'
import { CreateToken, RevokeTokenQuery, TokenParams } from '../../api/auth-requests.ts'
import { CATALOGUE, type Problem } from '../../api/problems.ts'
import { permissions, roleMay } from '../../api/roles.ts'
import type { TokenFailure } from '../../auth/auth.ts'
import { isoTime, tokenView } from '../../auth/token-ledger.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import {
  BODY_PROBLEMS,
  COMMAND_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { tokenProblem } from '../problems/problem-of.ts'

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
        .create({ name, role, expiresIn }, request.principal)
        .map(({ token, secret }) => {
          reply.code(201).header('cache-control', 'no-store')
          return { ...tokenView(token, clock()), secret }
        })
      return sendResult(request, reply, created, loggedTokenProblem)
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
        .revoke(request.params.id, reason, request.principal)
        .map((token) => tokenView(token, clock()))
      return sendResult(request, reply, revoked, loggedTokenProblem)
    },
  })
}

function loggedTokenProblem(error: TokenFailure, request: FastifyRequest): Problem {
  const problem = tokenProblem(error)
  if (CATALOGUE[problem.code][0] >= 500) {
    request.log.error({ error }, 'the token ledger could not be written')
  }
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
    handler: async ({ principal, role }, reply) => {
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
        ...problems('too_many_tickets', ...BODY_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { principal, role, tokenLifetime: lifetime } = request
      const issued = auth.issueTicket({ principal, role, lifetime })
      if (issued.isErr()) return sendProblem(request, reply, { code: issued.error.type })
      reply.code(201).header('cache-control', 'no-store')
      return { ticket: issued.value.ticket, expires_at: isoTime(issued.value.expiresAt) }
    },
  })
}
