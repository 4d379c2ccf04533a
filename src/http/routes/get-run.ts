import * as z from 'zod'
import { Seq } from '../../api/event-query.ts'
import { RunParams } from '../../api/run-id.ts'
import { streamOf } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import { Moments } from '../../queries/run-history.ts'
import type { AppDeps } from '../deps.ts'
import { etagOf, isKnown } from '../etag.ts'
import { commandProblem, queryProblem } from '../problems/command-problem.ts'
import { type Problem, problems, sendProblem } from '../problems/problem.ts'
import { jsonOnce, sendJson } from '../ready-json.ts'
import { DescribedRun } from '../run-details.ts'
import type { ZodApp } from '../zod-app.ts'
import { isKnownStill } from './unchanging.ts'

const detailsOf = jsonOnce(runDetails)

/** GET /api/runs/{run_id} */
export function getRun(app: ZodApp, deps: AppDeps): void {
  const moments = new Moments(deps)
  deps.redactions?.onRedacted(() => moments.forget())
  const redactions = (runId: string): number => deps.redactions?.ofRun(runId).length ?? 0
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'getRun',
      tags: ['runs'],
      summary: 'Read a run',
      description:
        'The ETag is the revision of the run, which is the seq of its last record. ' +
        'Send it back in If-None-Match to be told whether anything has happened since. With `at`, ' +
        'the answer is how the run stood right behind that record. That never changes, unless something ' +
        'is taken out of the run; then the ETag changes too.',
      params: RunParams,
      querystring: z.strictObject({
        at: Seq.optional().meta({
          description: 'seq of a record: the run as it was then. Without it: as it is now',
          examples: ['12'],
        }),
      }),
      response: {
        200: DescribedRun,
        304: z.undefined().describe('Nothing has happened since'),
        ...problems(
          'invalid_request',
          'run_not_found',
          'record_not_found',
          'damaged_record',
          'not_projected',
          'store_unavailable',
          'store_failed',
        ),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const { at } = request.query
      if (at !== undefined) {
        const state = await moments.stateAt(runId, at)
        if (state.isErr()) return sendProblem(request, reply, queryProblem(state.error))
        const known = isKnownStill(request, reply, etagOf(state.value, redactions(runId)))
        return known ? reply.code(304).send() : runDetails(state.value)
      }
      const run = deps.readModel.get(runId)
      if (run === null) return sendProblem(request, reply, await whyMissing(runId, deps))
      const etag = etagOf(run.state, redactions(runId))
      reply.header('etag', etag)
      if (isKnown(etag, request.headers['if-none-match'])) return reply.code(304).send()
      return sendJson(reply, detailsOf(run.state))
    },
  })
}

/** Whether a run that is not in the read model does not exist, or is only not projected yet. */
async function whyMissing(runId: string, { store }: AppDeps): Promise<Problem> {
  const first = await store.readStream(streamOf(runId), {
    from: 'start',
    direction: 'forward',
    limit: 1,
  })
  return first.isErr() ? commandProblem(first.error) : { code: 'not_projected' }
}
