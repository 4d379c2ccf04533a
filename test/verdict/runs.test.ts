import { expect, test } from 'vitest'
import { playReporting, proveRuns } from './runs.ts'

proveRuns({ rare: false })

test('a run that cheats and only reports reaches its goal, and names that', async () => {
  const { played, end, named } = await playReporting()
  expect({ ...end.verdict, named, status: end.status }).toMatchObject({
    status: 'achieved',
    original_checks: 'not_achieved',
    named: played.named,
  })
})
