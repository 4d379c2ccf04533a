import { RunDetails } from '../api/runs.ts'

/** The details of a run as the API describes them. */
export const DescribedRun = RunDetails.meta({
  id: 'RunDetails',
  examples: [
    {
      run_id: '550e8400-e29b-41d4-a716-446655440000',
      goal: 'pytest',
      status: 'achieved',
      model_name: 'claude-sonnet-4-6',
      max_iterations: 20,
      hitl_enabled: false,
      cwd: '/my/project',
      error: null,
      final_state: {
        iteration: 3,
        goal_achieved: true,
        goal_reason: 'All 42 tests passed',
        total_tokens: 12450,
        estimated_cost_usd: 0.037,
      },
      created_at: '2026-02-18T12:00:00.000Z',
      ended_at: '2026-02-18T12:03:20.000Z',
      end_reason: 'All 42 tests passed',
      max_cost_usd: null,
      max_tokens: null,
      max_seconds: null,
      progress: {
        iteration: 3,
        total_tokens: 12450,
        estimated_cost_usd: 0.037,
        seq: 31,
        waiting_for: null,
      },
    },
  ],
})
