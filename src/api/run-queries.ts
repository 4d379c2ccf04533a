import * as z from 'zod'
import { RUN_STATUSES } from '../domain/state.ts'
import { Seq } from './event-query.ts'
import { wholeInQuery } from './fields.ts'

/** Any text in the path is valid, so that a wrong id is reported as an unknown run, not as an invalid request. */
export const RunParams = z.object({
  run_id: z.string().meta({ format: 'uuid', examples: ['550e8400-e29b-41d4-a716-446655440000'] }),
})

/** `seq` is that of the `approval_required`. */
export const ApprovalParams = RunParams.extend({ seq: Seq })

export const ArtifactParams = RunParams.extend({
  sha256: z.string().meta({
    description: '`sha256` of a tool_result',
    examples: ['9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'],
  }),
})

/** The query of GET /api/runs. */
export const ListRunsQuery = z.strictObject({
  limit: wholeInQuery(1, 1000).default(100),
  cursor: z.string().optional().describe('From the Link header of the previous page'),
  status: z.enum(RUN_STATUSES).optional(),
  goal: z.string().optional(),
  parent: z.string().optional().describe('Only runs that the agent of this run has started'),
})
export type ListRunsQuery = z.output<typeof ListRunsQuery>

/** The query of GET /api/runs/{run_id}. */
export const GetRunQuery = z.strictObject({
  at: Seq.optional().meta({
    description: 'seq of a record: the run after that record. Without it: the run now',
    examples: ['12'],
  }),
})

/** The query of GET /api/runs/{run_id}/conversation. */
export const ConversationQuery = z.strictObject({
  at: Seq.optional().meta({ description: 'seq of a record', examples: ['4'] }),
})

/** The query of GET /api/runs/{run_id}/diff. */
export const DiffQuery = z.strictObject({ from: Seq, to: Seq })

/** The query of GET /api/goals. */
export const GoalsQuery = z.strictObject({
  cwd: z
    .string()
    .min(1)
    .optional()
    .meta({
      description: 'The folder of a project: only the goals that fit it, best first',
      examples: ['/path/to/project'],
    }),
})
