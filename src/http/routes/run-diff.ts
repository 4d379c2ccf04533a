import * as z from 'zod'
import { Seq } from '../../api/event-query.ts'
import { RunDiff } from '../../api/history.ts'
import { RunParams } from '../../api/run-id.ts'
import type { Kind } from '../../domain/records.ts'
import { Touched } from '../../domain/touched.ts'
import { fieldChanges } from '../../queries/field-changes.ts'
import { openCall } from '../../queries/open-call.ts'
import { runDetails } from '../../queries/run-details.ts'
import { Moments } from '../../queries/run-history.ts'
import type { AppDeps } from '../deps.ts'
import { entityTag } from '../etag.ts'
import { queryProblem } from '../problems/command-problem.ts'
import { problems, sendInvalid, sendProblem } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'
import { isKnownStill } from './unchanging.ts'

const DescribedDiff = RunDiff.meta({
  id: 'RunDiff',
  examples: [
    {
      run_id: '550e8400-e29b-41d4-a716-446655440000',
      from: 5,
      to: 16,
      changes: [
        { field: 'status', old: 'running', new: 'achieved' },
        { field: 'progress.seq', old: 5, new: 16 },
      ],
      records: { tool_call: 2, tool_result: 2, step_start: 1, goal_check: 1 },
      files: [
        {
          path: 'cart.py',
          changed: 'yes',
          calls: [{ seq: 6, tool: 'file_patch', outcome: 'ok' }],
        },
      ],
      commands: [
        { seq: 8, tool: 'bash_exec', command: 'make format', outcome: 'ok', exit_code: 0 },
      ],
    },
  ],
})

/** GET /api/runs/{run_id}/diff */
export function runDiff(app: ZodApp, deps: AppDeps): void {
  const moments = new Moments(deps)
  deps.redactions?.onRedacted(() => moments.forget())
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/diff',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'diffRun',
      tags: ['history'],
      summary: 'What changed between two moments of a run',
      description:
        'A moment is a record, by its seq: how things stood right behind it. A call of a tool counts ' +
        'where its call or its result lies between the two. Only `file_write` and `file_patch` say ' +
        'which file they change; commands are listed, and what they did to files is not known.',
      params: RunParams,
      querystring: z.strictObject({ from: Seq, to: Seq }),
      response: {
        200: DescribedDiff,
        304: z.undefined().describe('The client has this already'),
        ...problems(
          'invalid_request',
          'run_not_found',
          'record_not_found',
          'damaged_record',
          'store_unavailable',
          'store_failed',
        ),
      },
    },
    handler: async (request, reply) => {
      const { from, to } = request.query
      const { runId } = request
      if (from > to) {
        const message = `from must not be behind to: ${from} is more than ${to}.`
        return sendInvalid(request, reply, [{ field: 'from', message }])
      }
      const before = await moments.stateAt(runId, from)
      if (before.isErr()) return sendProblem(request, reply, queryProblem(before.error))
      const after = await moments.stateAt(runId, to)
      if (after.isErr()) return sendProblem(request, reply, queryProblem(after.error))
      const redactions = deps.redactions?.ofRun(runId).length ?? 0
      const etag = entityTag(`${from}-${to}`, redactions)
      if (isKnownStill(request, reply, etag)) return reply.code(304).send()
      const records: Partial<Record<Kind, number>> = {}
      const open = await openCall(before.value, deps)
      if (open.isErr()) return sendProblem(request, reply, queryProblem(open.error))
      const touched = new Touched(open.value)
      const walked = await moments.walk(runId, [from + 1, to], ({ seq, record }) => {
        records[record.kind] = (records[record.kind] ?? 0) + 1
        touched.add(seq, record)
      })
      if (walked.isErr()) return sendProblem(request, reply, queryProblem(walked.error))
      return {
        run_id: runId,
        from,
        to,
        changes: fieldChanges(runDetails(before.value), runDetails(after.value)),
        records,
        files: touched.files(),
        commands: touched.commands(),
      }
    },
  })
}
