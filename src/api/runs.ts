import * as z from 'zod'
import { RUN_STATUSES } from '../domain/state.ts'

const Timestamp = z.iso.datetime({ precision: 3 })
const Cost = z.number().nullable().describe('US dollars; null where a price is not known')

/** A row of GET /api/runs. */
export const RunSummary = z.object({
  run_id: z.uuid(),
  goal: z.string(),
  status: z.enum(RUN_STATUSES),
  created_at: Timestamp,
})
export type RunSummary = z.infer<typeof RunSummary>

/** GET /api/runs/{run_id}. */
export const RunDetails = z.object({
  run_id: z.uuid(),
  goal: z.string(),
  status: z.enum(RUN_STATUSES),
  model_name: z.string(),
  max_iterations: z.int(),
  hitl_enabled: z.boolean(),
  cwd: z.string(),
  error: z.string().nullable().describe('Message of the error record that ended the run'),
  final_state: z
    .object({
      iteration: z.int(),
      goal_achieved: z.boolean(),
      goal_reason: z.string(),
      total_tokens: z.int(),
      estimated_cost_usd: Cost,
    })
    .nullable()
    .describe('Null until the run has ended'),
  created_at: Timestamp,
  ended_at: Timestamp.nullable(),
  end_reason: z
    .string()
    .nullable()
    .describe('Why the run has ended, which may be a limit, an abort or an error; null until then'),
  max_cost_usd: z.number().nullable(),
  max_tokens: z.int().nullable(),
  max_seconds: z.number().nullable(),
  progress: z.object({
    iteration: z.int(),
    total_tokens: z.int(),
    estimated_cost_usd: Cost,
    seq: z.int().describe('Revision of the last record'),
    waiting_for: z
      .object({
        kind: z.literal('human_check_required'),
        seq: z.int().describe('seq of the human check that waits for a decision'),
        summary: z.string(),
      })
      .nullable(),
  }),
})
export type RunDetails = z.infer<typeof RunDetails>
