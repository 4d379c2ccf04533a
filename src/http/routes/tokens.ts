import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { NewTokenView, TokenView } from '../../api/auth.ts'
import { CATALOGUE } from '../../api/problem-codes.ts'
import { ROLES } from '../../api/roles.ts'
import type { TokenFailure } from '../../auth/auth.ts'
import { RESERVED_NAMES } from '../../auth/decide-token.ts'
import { TokenName } from '../../auth/token-ledger.ts'
import type { AppDeps } from '../deps.ts'
import { COMMAND_PROBLEMS, problems, sendProblem } from '../problems/problem.ts'
import { tokenProblem } from '../problems/token-problem.ts'
import { tokenView } from '../token-view.ts'
import type { ZodApp } from '../zod-app.ts'

const EXAMPLE = {
  id: '0b1f7e0a-4f5e-4a55-9d0b-6d1d7d3c9a10',
  name: 'ci',
  role: 'operator',
  status: 'active',
  created_at: '2026-02-18T12:00:00.000Z',
  created_by: 'local',
  expires_at: '2026-03-20T12:00:00.000Z',
  revoked_at: null,
  revoked_by: null,
  revoked_reason: null,
} as const

const DAY = 86_400
const MAX_SECONDS = 3650 * DAY

const Wanted = z
  .strictObject({
    name: TokenName.describe(
      `The principal in the records of what is done with it. Names are given once; ${RESERVED_NAMES.join(' and ')} are taken`,
    ),
    role: z.enum(ROLES),
    expires_in: z
      .int()
      .min(1)
      .max(MAX_SECONDS)
      .nullable()
      .default(null)
      .describe('Seconds from now on; null: it does not expire'),
  })
  .meta({ examples: [{ name: 'ci', role: 'operator', expires_in: 30 * DAY }] })

const Reason = z.strictObject({
  reason: z.string().max(1000).optional().describe('Kept in the log'),
})

const Created = NewTokenView.meta({
  examples: [{ ...EXAMPLE, secret: 'retrai_s0m3Th1ngOfFortyThreeCharactersThatNobodyKnows' }],
})
const Revoked = TokenView.meta({
  examples: [
    {
      ...EXAMPLE,
      status: 'revoked',
      revoked_at: '2026-02-19T09:30:00.000Z',
      revoked_by: 'ada',
      revoked_reason: 'It stood in a build log',
    },
  ],
})
const Listed = z.array(TokenView).meta({ examples: [[EXAMPLE]] })

/** GET and POST /api/tokens, DELETE /api/tokens/{id} */
export function tokens(app: ZodApp, { access, clock }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/tokens',
    config: { needs: 'tokens:read' },
    schema: {
      operationId: 'listTokens',
      tags: ['access'],
      summary: 'All tokens that were ever made, the newest first, without their secrets',
      response: { 200: Listed },
    },
    handler: async () =>
      access
        .tokens()
        .map((token) => tokenView(token, clock()))
        .reverse(),
  })
  app.route({
    method: 'POST',
    url: '/api/tokens',
    config: { needs: 'tokens:manage' },
    schema: {
      operationId: 'createToken',
      tags: ['access'],
      summary: 'Make a token',
      description:
        'The answer holds its secret, which is told here only. Once a token was made, every request needs ' +
        'one; so the first must be an admin’s, unless the server has RETRAI_TOKEN.',
      body: Wanted,
      response: {
        201: Created,
        ...problems('invalid_request', 'name_taken', 'admin_needed', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { name, role, expires_in: expiresIn } = request.body
      const created = await access.create({ name, role, expiresIn }, request.principal)
      if (created.isErr()) return refuse(request, reply, created.error)
      const { token, secret } = created.value
      reply.code(201).header('cache-control', 'no-store')
      return { ...tokenView(token, clock()), secret }
    },
  })
  app.route({
    method: 'DELETE',
    url: '/api/tokens/:id',
    config: { needs: 'tokens:manage' },
    schema: {
      operationId: 'revokeToken',
      tags: ['access'],
      summary: 'Revoke a token',
      description:
        'It is refused from then on by all servers of the log, and what was opened with it is closed. ' +
        'Revoking it again changes nothing. The last active token of an admin is not revoked, unless the ' +
        'server has RETRAI_TOKEN: make another one first.',
      params: z.object({ id: z.string() }),
      querystring: Reason,
      response: {
        200: Revoked,
        ...problems('invalid_request', 'token_not_found', 'admin_needed', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { reason = null } = request.query
      const revoked = await access.revoke(request.params.id, reason, request.principal)
      if (revoked.isErr()) return refuse(request, reply, revoked.error)
      return tokenView(revoked.value, clock())
    },
  })
}

function refuse(request: FastifyRequest, reply: FastifyReply, error: TokenFailure) {
  const problem = tokenProblem(error)
  if (CATALOGUE[problem.code][0] >= 500) {
    request.log.error({ error }, 'the token ledger could not be written')
  }
  return sendProblem(request, reply, problem)
}
