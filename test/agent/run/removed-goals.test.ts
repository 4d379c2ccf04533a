import { expect, test } from 'vitest'
import { only, Workshop } from '../support.ts'

test.each(['coverage', 'perf-check', 'api-test'])(
  'a run that an earlier version began with %s ends with a check that says why it cannot be checked',
  async (goal) => {
    await using shop = await Workshop.open([])
    const goal_options = { min_percent: 85, requests: [{ path: '/health', status: 204 }] }
    const runId = await shop.create({ goal, goal_options, max_turns_per_iteration: 5 })
    shop.startAgent({ unfinished: [runId] })
    const records = await shop.until(runId, 'run_end')
    const { achieved, verdict, reason } = only(records, 'goal_check').payload
    expect({ achieved, verdict }).toEqual({ achieved: false, verdict: 'cannot_check' })
    expect(reason).toContain(`no goal ${goal}: name a check`)
  },
)
