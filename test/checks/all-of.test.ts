import { describe, expect, test } from 'vitest'
import { describeGoals } from '../../src/checks/catalogue.ts'
import type { GoalPart } from '../../src/domain/run-config.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { check, configOf, type Files, programs, project, withPrograms } from './support.ts'

const command = (check_command: string, success_condition = {}): GoalPart => ({
  goal: 'shell-goal',
  shell_goal: { check_command, success_condition: { exit_code: 0, ...success_condition } },
})

const checkAll = async (all_of: readonly GoalPart[], files: Files = {}, run = runCommand) =>
  check('all-of', await project(files), { config: { all_of }, runCommand: run })

describe('several goals', () => {
  test('are achieved if each of them is, and the reason names each', async () => {
    const npm = await programs({ npm: 'echo "# pass 2"' })
    const parts = [{ goal: 'npm-test', shell_goal: null }, command('true')]
    const files = { 'package.json': '{"scripts":{"test":"x"}}' }
    const verdict = await checkAll(parts, files, withPrograms(npm))
    expect(verdict.verdict).toBe('achieved')
    expect(verdict.reason).toMatch(
      /^2 of 2 reached\. npm-test reached: All 2 tests passed\. `true` reached: /,
    )
  })

  test('that fail are all checked, are listed first, and show what each printed', async () => {
    const verdict = await checkAll([
      command('echo one; false'),
      command('true'),
      command('echo three; exit 3'),
    ])
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(
      /^1 of 3 reached\. `echo one; false` not reached: .*`echo three; exit 3` not reached: .*`true` reached: /,
    )
    expect(verdict.details).toContain('=== `echo one; false`\none')
    expect(verdict.details).toContain('=== `echo three; exit 3`\nthree')
  })

  test('cannot be checked if one of them cannot be, and the rest is not run', async () => {
    const parts = [command('frobnicate'), command('touch ran')]
    const verdict = await checkAll(parts)
    expect(verdict.verdict).toBe('cannot_check')
    expect(verdict.reason).toMatch(/^0 of 1 reached\.|frobnicate was not found/)
    expect(verdict.reason).not.toContain('touch ran')
  })

  test('are all in the prompt, with their commands', () => {
    const parts = [{ goal: 'pytest', shell_goal: null }, command('make lint', { max_seconds: 9 })]
    const prompt = describeGoals({ ...configOf('all-of', '/p'), all_of: parts })
    expect(prompt).toContain('## pytest\nMake all tests of this Python project pass')
    expect(prompt).toContain('The check: `make lint` with exit code 0, less than 9 s.')
  })
})

describe('a command that replaces the command of a goal', () => {
  const own = async (name: string, check_command: string, conditions = {}) =>
    check(name, await project({}), {
      shellGoal: { check_command, success_condition: { exit_code: 0, ...conditions } },
    })

  test('is judged as the goal judges its own command: by the totals that it prints', async () => {
    const verdict = await own('npm-test', 'echo "# pass 2"; echo "# fail 1"')
    expect(verdict.reason).toContain('1 of 3 tests failing')
    expect((await own('make-test', 'echo "# pass 2"')).reason).toBe('All 2 tests passed')
  })

  test('must also meet its own conditions', async () => {
    const verdict = await own('npm-test', 'echo "# pass 2"', { output_contains: 'covered' })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(
      /^All 2 tests passed, but "covered" in its standard output is required/,
    )
  })
})
