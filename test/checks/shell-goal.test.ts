import { describe, expect, test } from 'vitest'
import type { ShellGoal } from '../../src/domain/run-config.ts'
import { check, project } from './support.ts'

describe('shell-goal', () => {
  const run = async (
    check_command: string,
    success_condition: ShellGoal['success_condition'],
    files = {},
  ) =>
    check('shell-goal', await project(files), { shellGoal: { check_command, success_condition } })

  test('is achieved when all named conditions hold', async () => {
    const verdict = await run('echo all OK', {
      exit_code: 0,
      output_contains: 'OK',
      max_seconds: 100,
    })
    expect(verdict.verdict).toBe('achieved')
    expect(verdict.reason).toMatch(
      /^`echo all OK` succeeded with exit code 0, "OK" in its standard output, less than 100 s/,
    )
  })

  test('names every condition that does not hold, and what happened instead', async () => {
    const verdict = await run('echo broken; sleep 0.2; exit 3', {
      exit_code: 0,
      output_contains: 'OK',
      max_seconds: 0.1,
    })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('exit code 0 is required, but it ended with exit code 3')
    expect(verdict.reason).toContain('"OK" in its standard output is required, but its last line')
    expect(verdict.reason).toMatch(/less than 0\.1 s is required, but it took \d+\.\d\d s/)
    expect(verdict.details).toContain('broken')
  })

  test.each([
    ['frobnicate --all', 'frobnicate', 'cannot_check'],
    ['sh -c frobnicate', 'frobnicate', 'cannot_check'],
    // The agent may have to write it.
    ['./check.sh', './check.sh', 'not_achieved'],
    ['exit 127', 'one of its programs', 'not_achieved'],
  ])('reports that a program is missing: %s', async (command, what, outcome) => {
    const verdict = await run(command, { exit_code: 0 })
    expect(verdict.verdict).toBe(outcome)
    expect(verdict.reason).toBe(
      `\`${command}\` failed: ${what} was not found: install it, or correct the check_command for a new run; exit code 0 is required, but it ended with exit code 127`,
    )
  })

  test('checks only the conditions that are set', async () => {
    expect((await run('echo OK; exit 3', { output_contains: 'OK' })).verdict).toBe('achieved')
    expect((await run('exit 3', { exit_code: 3 })).verdict).toBe('achieved')
  })

  test('looks for the string in stdout alone', async () => {
    const verdict = await run('echo OK >&2', { output_contains: 'OK' })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('it printed nothing')
  })

  test('does not read .retrai.yml again: the agent cannot move the goal', async () => {
    const verdict = await run('false', { exit_code: 0 }, { '.retrai.yml': 'check_command: "true"' })
    expect(verdict.verdict).toBe('not_achieved')
  })

  test('gives a verdict if the run has no command', async () => {
    const verdict = await check('shell-goal', await project({}))
    expect(verdict.reason).toMatch(/has no check_command/)
  })
})
