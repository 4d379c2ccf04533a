import * as z from 'zod'
import { RunParams } from '../../api/run-id.ts'
import { ConfigChanges } from '../../domain/run-config.ts'
import { runDetails } from '../../queries/run-details.ts'
import { command } from '../commands.ts'
import type { AppDeps } from '../deps.ts'
import { etagOf } from '../etag.ts'
import { COMMAND_PROBLEMS, problems, sendInvalid, sendResult } from '../problems/problem.ts'
import { DescribedRun } from '../run-details.ts'
import { MAX_ITERATIONS } from '../run-request.ts'
import { GivenSeen } from '../seen.ts'
import type { ZodApp } from '../zod-app.ts'

const changes = ConfigChanges.unwrap().shape

const Changes = z
  .strictObject({
    ...changes,
    max_iterations: changes.max_iterations.unwrap().max(MAX_ITERATIONS).exactOptional(),
    reason: z.string().nullable().default(null).describe('Kept in the log'),
    seen: GivenSeen,
  })
  .refine(
    ({ reason: _, seen: __, ...changes }) => Object.keys(changes).length > 0,
    'must name at least one of max_iterations, model_name, hitl_enabled',
  )
  .meta({
    minProperties: 1,
    examples: [
      { max_iterations: 30 },
      { model_name: 'gpt-5-mini', hitl_enabled: true, reason: 'The first one is too slow' },
    ],
  })

/** PATCH /api/runs/{run_id}/config */
export function configureRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'PATCH',
    url: '/api/runs/:run_id/config',
    config: { needs: 'runs:configure' },
    schema: {
      operationId: 'configureRun',
      tags: ['runs'],
      summary: 'Change the configuration of a run while it works',
      description: 'What changes takes effect at the next step of the run.',
      params: RunParams,
      body: Changes,
      response: {
        200: DescribedRun,
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
      const { reason, seen, ...changes } = request.body
      const missing = changes.model_name === undefined ? null : deps.missingKey(changes.model_name)
      if (missing !== null) {
        const message = `model_name "${changes.model_name}" needs ${missing}, which is not set. Set it for the server, or choose another model.`
        return sendInvalid(request, reply, [{ field: 'model_name', message }])
      }
      const wanted = { type: 'configure', changes, reason, seen } as const
      const changed = command(deps, request, request.runId, wanted).map(({ state }) => {
        reply.header('etag', etagOf(state, deps.redactions?.ofRun(state.runId).length))
        return runDetails(state)
      })
      return sendResult(request, reply, changed)
    },
  })
}
