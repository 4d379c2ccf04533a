import { Me, TicketView } from '../../api/auth.ts'
import { PERMISSIONS, roleMay } from '../../api/roles.ts'
import type { AppDeps } from '../deps.ts'
import { BODY_PROBLEMS, problems, sendProblem } from '../problems/problem.ts'
import { isoTime } from '../token-view.ts'
import type { ZodApp } from '../zod-app.ts'

const DescribedMe = Me.meta({
  examples: [{ principal: 'ada', role: 'viewer', may: ['self:read', 'runs:read', 'runs:verify'] }],
})
const DescribedTicket = TicketView.meta({
  examples: [
    {
      ticket: 'b0mUN3dWb3hVd1o2cGJtQ2Z4bEhqa0xtTm9wcXJzdHV2',
      expires_at: '2026-02-18T12:00:30.000Z',
    },
  ],
})

/** GET /api/me, POST /api/tickets */
export function me(app: ZodApp, { access }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/me',
    config: { needs: 'self:read' },
    schema: {
      operationId: 'me',
      tags: ['access'],
      summary: 'Who asks, and what they may do',
      response: { 200: DescribedMe },
    },
    handler: async ({ principal, role }, reply) => {
      reply.header('cache-control', 'no-store')
      return { principal, role, may: PERMISSIONS.filter((each) => roleMay(role, each)) }
    },
  })
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
        'is used up by that, so it does no harm in a log of addresses.',
      response: { 201: DescribedTicket, ...problems('too_many_tickets', ...BODY_PROBLEMS) },
    },
    handler: async (request, reply) => {
      const { caller } = request
      if (caller === null) throw new TypeError('a ticket is for somebody')
      const issued = access.issueTicket(caller)
      if (issued.isErr()) return sendProblem(request, reply, { code: issued.error.type })
      reply.code(201).header('cache-control', 'no-store')
      return { ticket: issued.value.ticket, expires_at: isoTime(issued.value.expiresAt) }
    },
  })
}
