import { Liveness, Readiness } from '../../api/health.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { described } from '../problems/problem.ts'

/** GET /health/live and GET /health/ready. They need no token. */
export function health(app: ZodApp, { ready }: AppDeps): void {
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
