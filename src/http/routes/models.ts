import * as z from 'zod'
import { Model } from '../../api/models.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { described } from '../problems/problem.ts'

/** GET /api/models */
export function listModels(app: ZodApp, { models }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/models',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listModels',
      tags: ['models'],
      summary: 'List the models that a run can name',
      description:
        'The models that this server knows, with those that an own endpoint and Ollama report. A run may name others ' +
        'of the same providers too. Those that cannot be called now have a `problem`.',
      response: { 200: described('The default comes first', z.array(Model)) },
    },
    handler: async () => [...(await models())],
  })
}
