import * as z from 'zod'
import { SeqInBody } from '../../api/event-query.ts'
import { RunParams } from '../../api/run-id.ts'
import { Decision } from '../../domain/records.ts'
import { RUN_STATUSES, statusOf } from '../../domain/state.ts'
import { command } from '../commands.ts'
import type { AppDeps } from '../deps.ts'
import { COMMAND_PROBLEMS, problems, sendResult } from '../problems/problem.ts'
import { GivenSeen, SEEN_EXAMPLE } from '../seen.ts'
import type { ZodApp } from '../zod-app.ts'

const Answer = z
  .strictObject({
    decision: Decision,
    reason: z.string().nullable().default(null).describe('Kept in the log beside the decision'),
    seq: SeqInBody.nullable()
      .default(null)
      .describe(
        'seq of the human_check_required that is answered: the decision is refused once another ' +
          'one is open. Without it, whichever is open is answered',
      ),
    seen: GivenSeen,
  })
  .meta({
    examples: [
      { decision: 'approve' },
      { decision: 'abort', reason: 'Too dear', seq: 14 },
      { decision: 'approve', seq: 14, seen: SEEN_EXAMPLE },
    ],
  })

const Resumed = z
  .object({ run_id: z.uuid(), status: z.enum(RUN_STATUSES), resumed_with: Decision })
  .meta({
    description: 'The decision is in the log',
    examples: [
      {
        run_id: '550e8400-e29b-41d4-a716-446655440000',
        status: 'running',
        resumed_with: 'approve',
      },
    ],
  })

/** POST /api/runs/{run_id}/resume */
export function resumeRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/resume',
    config: { needs: 'runs:decide' },
    schema: {
      operationId: 'resumeRun',
      tags: ['runs'],
      summary: 'Decide for a run that waits for a person',
      description:
        'The log keeps who decided, the reason, the `seq` of the human check that was answered, and its ' +
        'hash as `shown_sha256`: with it, the whole history that led to the question.',
      params: RunParams,
      body: Answer,
      response: {
        200: Resumed,
        ...problems(
          'invalid_request',
          'run_not_found',
          'not_awaiting_human',
          'stale_decision',
          'seen_otherwise',
          'run_ended',
          ...COMMAND_PROBLEMS,
        ),
      },
    },
    handler: async (request, reply) => {
      const { decision, reason, seq: answers, seen } = request.body
      const answer = { type: 'respond', decision, reason, answers, seen } as const
      const resumed = command(deps, request, request.runId, answer).map(({ state }) => {
        return { run_id: state.runId, status: statusOf(state), resumed_with: decision }
      })
      return sendResult(request, reply, resumed)
    },
  })
}
