import * as z from 'zod'
import type { AppDeps } from '../deps.ts'
import type { ZodApp } from '../zod-app.ts'

const Goal = z.object({ name: z.string(), description: z.string() })

/** GET /api/goals */
export function listGoals(app: ZodApp, { goals }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/goals',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listGoals',
      tags: ['goals'],
      summary: 'List the goals that a run can have',
      response: {
        200: z.array(Goal).meta({
          examples: [[{ name: 'pytest', description: 'All tests pass under pytest' }]],
        }),
      },
    },
    handler: async () => [...goals],
  })
}
