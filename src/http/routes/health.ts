import * as z from 'zod'
import type { AppDeps } from '../deps.ts'
import type { ZodApp } from '../zod-app.ts'

const Live = z.object({ status: z.literal('ok') }).meta({ examples: [{ status: 'ok' }] })

const Ready = z
  .object({
    ready: z.boolean(),
    checks: z.record(z.string(), z.object({ ok: z.boolean(), detail: z.string().optional() })),
  })
  .meta({
    examples: [
      {
        ready: true,
        checks: { store: { ok: true }, projections: { ok: true }, integrity: { ok: true } },
      },
    ],
  })

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
      response: { 200: Live },
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
        200: Ready.describe(
          'The store answers, and the projections have caught up. `integrity` tells if something that is stored was changed or removed: it is served all the same',
        ),
        503: Ready.describe('Not yet, or not now'),
      },
    },
    handler: async (_request, reply) => {
      const readiness = await ready()
      return reply.code(readiness.ready ? 200 : 503).send(readiness)
    },
  })
}
