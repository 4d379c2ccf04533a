import type { FastifyInstance } from 'fastify'
import { err } from 'neverthrow'
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
import { isoTime, tokenView } from '../../auth/token-ledger.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { callerOf } from '../plugins/security.ts'

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

/** The tokens of callers, and who the caller is. */
export function tokens(app: FastifyInstance, { auth, clock }: AppDeps): void {
  operation(app, 'GET /api/tokens', {
    needs: 'tokens:read',
    id: 'listTokens',
    tag: 'access',
    summary: 'All tokens that were ever created, newest first, without their secrets',
    answers: { 200: described('All tokens', z.array(TokenView)) },
    handle: () => {
      if (!auth.hasRead) return err({ code: 'tokens_unread' })
      return auth
        .tokens()
        .map((token) => tokenView(token, clock()))
        .reverse()
    },
  })
  operation(app, 'POST /api/tokens', {
    needs: 'tokens:manage',
    id: 'createToken',
    tag: 'access',
    summary: 'Create a token',
    description:
      'Only this answer holds the secret of the token. After the first token is created, every request needs ' +
      'a token, so the first one must have the role admin, unless the server has RETRAI_TOKEN.',
    body: CreateToken,
    answers: { 201: described('The token, with its secret', NewTokenView) },
    handle: (request, reply) => {
      const { name, role, expires_in: expiresIn } = request.body
      const { principal } = callerOf(request)
      return auth.create({ name, role, expiresIn }, principal).map(({ token, secret }) => {
        reply.code(201).header('cache-control', 'no-store')
        return { ...tokenView(token, clock()), secret }
      })
    },
  })
  operation(app, 'DELETE /api/tokens/:id', {
    needs: 'tokens:manage',
    id: 'revokeToken',
    tag: 'access',
    summary: 'Revoke a token',
    description:
      'From then on, all servers of the log refuse the token, and close everything that was opened with it. ' +
      'Revoking it again changes nothing. The last active token with the role admin cannot be revoked, unless ' +
      'the server has RETRAI_TOKEN: create another one first.',
    params: TokenParams,
    query: RevokeTokenQuery,
    answers: { 200: described('The token, which is revoked now', TokenView) },
    handle: (request) => {
      const { params, query } = request
      const { principal } = callerOf(request)
      const revoked = auth.revoke(params.id, query.reason ?? null, principal)
      return revoked.map((token) => tokenView(token, clock()))
    },
  })
  aboutCaller(app, auth)
}

function aboutCaller(app: FastifyInstance, auth: AppDeps['auth']): void {
  operation(app, 'GET /api/me', {
    needs: 'self:read',
    id: 'me',
    tag: 'access',
    summary: 'The name, the role and the permissions of the caller',
    answers: { 200: described('The caller', Me) },
    handle: (request, reply) => {
      const { principal, role } = callerOf(request)
      reply.header('cache-control', 'no-store')
      return { principal, role, may: permissions().filter((each) => roleMay(role, each)) }
    },
  })
  operation(app, 'POST /api/tickets', {
    needs: 'self:read',
    id: 'createTicket',
    tag: 'access',
    summary: 'Get a ticket for a WebSocket',
    description:
      'A browser cannot send a header with a WebSocket. A ticket opens one WebSocket on this server, ' +
      'within 30 seconds: as `?ticket=…`, or as the subprotocol `retrai.ticket.…` beside `retrai`. It ' +
      'is valid only once, so it does no harm in a log of addresses.',
    answers: { 201: described('The ticket', TicketView) },
    handle: (request, reply) => {
      const { ticket, expiresAt } = auth.tickets.issue(callerOf(request))
      reply.code(201).header('cache-control', 'no-store')
      return { ticket, expires_at: isoTime(expiresAt) }
    },
  })
}
