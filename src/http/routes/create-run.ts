import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { command } from '../commands.ts'
import type { AppDeps } from '../deps.ts'
import { COMMAND_PROBLEMS, problems, sendInvalid, sendProblem } from '../problem.ts'
import { planRequest, runRequestSchema } from '../run-request.ts'
import type { ZodApp } from '../zod-app.ts'

const RunStarted = z
  .object({ run_id: z.uuid(), status: z.literal('running') })
  .describe('The run is in the log, and is taken up at once')
  .meta({ examples: [{ run_id: '550e8400-e29b-41d4-a716-446655440000', status: 'running' }] })

/** POST /api/runs */
export function createRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs',
    schema: {
      operationId: 'createRun',
      tags: ['runs'],
      summary: 'Start a run',
      description:
        'Unknown fields are refused, and every problem of a request is named at once. ' +
        'The Location header of the answer is the address of the run.',
      body: runRequestSchema(deps.defaults),
      response: { 201: RunStarted, ...problems('invalid_request', ...COMMAND_PROBLEMS) },
    },
    // A body that does not fit is judged further, so that the answer names every problem.
    attachValidation: true,
    handler: async (request, reply) => {
      const planned = await planRequest(request.body, request.validationError, deps)
      if (planned.isErr()) return sendInvalid(request, reply, planned.error)
      const runId = randomUUID()
      const created = await command(deps, request, runId, {
        type: 'create',
        runId,
        ...planned.value,
      })
      if (created.isErr()) return sendProblem(request, reply, created.error)
      reply.code(201).header('location', `/api/runs/${runId}`)
      return { run_id: runId, status: 'running' } as const
    },
  })
}
