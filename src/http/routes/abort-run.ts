import * as z from 'zod'
import { RunParams } from '../../api/run-id.ts'
import { RUN_STATUSES, statusOf } from '../../domain/state.ts'
import { command } from '../commands.ts'
import type { AppDeps } from '../deps.ts'
import { COMMAND_PROBLEMS, problems, sendResult } from '../problems/problem.ts'
import { GivenSeen, SEEN_EXAMPLE } from '../seen.ts'
import type { ZodApp } from '../zod-app.ts'

const Abort = z
  .strictObject({
    reason: z.string().nullable().default(null).describe('Kept in the log'),
    seen: GivenSeen,
  })
  .prefault({})
  .meta({
    description: 'May be left out',
    examples: [{ reason: 'No longer needed' }, { reason: 'Too dear', seen: SEEN_EXAMPLE }],
  })

const Aborted = z.object({ run_id: z.uuid(), status: z.enum(RUN_STATUSES) }).meta({
  description: 'The run has ended; whatever it is doing is being stopped',
  examples: [{ run_id: '550e8400-e29b-41d4-a716-446655440000', status: 'aborted' }],
})

/** POST /api/runs/{run_id}/abort */
export function abortRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/abort',
    config: { needs: 'runs:abort' },
    schema: {
      operationId: 'abortRun',
      tags: ['runs'],
      summary: 'Abort a run',
      params: RunParams,
      body: Abort,
      response: {
        200: Aborted,
        ...problems(
          'invalid_request',
          'run_not_found',
          'run_ended',
          'seen_otherwise',
          ...COMMAND_PROBLEMS,
        ),
      },
    },
    handler: async (request, reply) => {
      const { reason, seen } = request.body
      const wanted = { type: 'abort', reason, seen } as const
      const aborted = command(deps, request, request.runId, wanted).map(({ state }) => {
        return { run_id: state.runId, status: statusOf(state) }
      })
      return sendResult(request, reply, aborted)
    },
  })
}
