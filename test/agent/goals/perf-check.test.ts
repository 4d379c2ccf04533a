import { expect, test } from 'vitest'
import { findGoal } from '../../../src/agent/goals/catalogue.ts'
import { median } from '../../../src/agent/goals/perf-check.ts'
import type { GoalOptions } from '../../../src/domain/run-config.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { workspaceOf } from '../../workspace/support.ts'
import { configOf, project } from './support.ts'

async function perfCheck(check_command: string, goal_options: GoalOptions, conditions = {}) {
  const shell_goal = { check_command, success_condition: { exit_code: 0, ...conditions } }
  const cwd = await project({})
  return findGoal('perf-check')?.check({
    config: { ...configOf('perf-check', cwd, shell_goal), goal_options },
    signal: new AbortController().signal,
    ...{ runCommand, files: workspaceOf(cwd), reportsDir: cwd },
  })
}

test('the median is the middle, or the mean of the two in the middle', () => {
  expect(median([9, 1, 5])).toBe(5)
  expect(median([4, 1, 9, 2])).toBe(3)
})

test('a command that is fast enough achieves the goal, and all measured times are reported', async () => {
  const judged = await perfCheck('echo fine', { max_ms: 60_000, runs: 3 })
  expect(judged?.verdict).toBe('achieved')
  expect(judged?.reason).toMatch(
    /^The median is [\d.]+ ms, within 60000 ms \(3 runs: \d+, \d+, \d+ ms\)$/,
  )
})

test('a command that is too slow does not achieve it', async () => {
  const judged = await perfCheck('sleep 0.05', { max_ms: 1, runs: 1 })
  expect(judged?.verdict).toBe('not_achieved')
  expect(judged?.reason).toMatch(/more than 1 ms/)
})

test('every run must meet the conditions, whatever else it prints', async () => {
  const fails = await perfCheck('echo broken >&2; exit 3', { max_ms: 60_000 })
  expect(fails?.reason).toMatch(/^Run 1 of 5 failed: exit code 0 is required, but it ended with/)
  expect(fails?.details).toContain('broken')
  const silent = await perfCheck('echo a', { max_ms: 60_000 }, { output_contains: 'b' })
  expect(silent?.reason).toContain('its last line was "a"')
})
