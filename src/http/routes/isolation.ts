import { IsolationOffer } from '../../api/isolation.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { described } from '../problems/problem.ts'

/** GET /api/isolation */
export function showIsolation(app: ZodApp, { isolationOffer }: AppDeps): void {
  if (isolationOffer === undefined) return
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
