import { describe, expect, test } from 'vitest'
import { goals } from '../../../src/agent/goals/catalogue.ts'
import { systemPrompt } from '../../../src/agent/goals/prompt.ts'
import { configOf } from './support.ts'

describe('the system prompt', () => {
  test.each(goals)('$name: contains the goal, its check, the folder and the limit', (goal) => {
    const prompt = systemPrompt(configOf(goal.name, '/home/dev/project'))
    for (const part of [goal.name, goal.prompt, '/home/dev/project', 'at most 20 iterations']) {
      expect(prompt).toContain(part)
    }
    expect(prompt).not.toContain('undefined')
  })

  test.each(goals)('$name: mentions a person only if one decides', (goal) => {
    const config = configOf(goal.name, '/home/dev/project')
    expect(systemPrompt(config)).not.toContain('a person decides')
    expect(systemPrompt({ ...config, hitl_enabled: true })).toContain('a person decides')
  })

  test('contains the command and the conditions of a shell-goal', () => {
    const shell_goal = {
      check_command: 'make check',
      success_condition: { exit_code: 0, output_contains: 'OK', max_seconds: 10 },
    }
    expect(systemPrompt(configOf('shell-goal', '/home/dev/project', shell_goal))).toContain(
      '`make check` with exit code 0, "OK" in its standard output, less than 10 s',
    )
  })
})
