import { describe, expect, test } from 'vitest'
import { describeEnvironment } from '../../../src/agent/environment.ts'
import { goals } from '../../../src/agent/goals/catalogue.ts'
import { systemPrompt } from '../../../src/agent/goals/prompt.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { NO_ISOLATION } from '../../../src/runner/isolation/isolation.ts'
import { EVERYTHING } from '../../../src/runner/isolation/policy.ts'
import { policyOf } from '../../../src/runner/isolation/run-policy.ts'
import { DEFAULT_LIMITS } from '../../../src/runner/run-command.ts'
import { configOf } from './support.ts'

const policy = policyOf(NO_ISOLATION, EVERYTHING, DEFAULT_LIMITS)
const promptOf = (config: RunConfig): string => systemPrompt(config, policy)

describe('the system prompt', () => {
  test('says what the environment is', () => {
    expect(promptOf(configOf('pytest', '/p'))).toContain(describeEnvironment(policy))
  })

  test.each(goals)('$name: contains the goal, its check, the folder and the limit', (goal) => {
    const prompt = promptOf(configOf(goal.name, '/home/dev/project'))
    for (const part of [goal.name, goal.prompt, '/home/dev/project', 'at most 20 iterations']) {
      expect(prompt).toContain(part)
    }
    expect(prompt).not.toContain('undefined')
  })

  test.each(goals)('$name: mentions a person only if one decides', (goal) => {
    const config = configOf(goal.name, '/home/dev/project')
    expect(promptOf(config)).not.toContain('a person decides')
    expect(promptOf({ ...config, hitl_enabled: true })).toContain('a person decides')
  })

  test('contains the command and the conditions of a shell-goal', () => {
    const shell_goal = {
      check_command: 'make check',
      success_condition: { exit_code: 0, output_contains: 'OK', max_seconds: 10 },
    }
    expect(promptOf(configOf('shell-goal', '/home/dev/project', shell_goal))).toContain(
      '`make check` with exit code 0, "OK" in its standard output, less than 10 s',
    )
  })
})
