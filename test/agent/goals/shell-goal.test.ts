import { describe, expect, test } from 'vitest'
import { findGoal } from '../../../src/agent/goals/catalogue.ts'
import { readShellGoal } from '../../../src/agent/goals/retrai-yml.ts'
import type { ShellGoal } from '../../../src/domain/run-config.ts'
import { check, project } from './support.ts'

const FULL = `goal: shell-goal
model: some-model
check_command: "make check"
success_condition:
  exit_code: 0          # require this exit code
  output_contains: "OK" # and/or this string in stdout
  max_seconds: 10       # and/or run under this time
`

describe('.retrai.yml', () => {
  const read = async (text: string) => readShellGoal(await project({ '.retrai.yml': text }))

  test('has the command and all conditions; keys of other tools are ignored', async () => {
    expect((await read(FULL))._unsafeUnwrap()).toEqual({
      check_command: 'make check',
      success_condition: { exit_code: 0, output_contains: 'OK', max_seconds: 10 },
    })
  })

  test('without a condition requires exit code 0', async () => {
    expect((await read('check_command: make check\n'))._unsafeUnwrap()).toEqual({
      check_command: 'make check',
      success_condition: { exit_code: 0 },
    })
  })

  test('with one condition requires only that', async () => {
    const text = 'check_command: x\nsuccess_condition:\n  output_contains: fine\n'
    const { success_condition } = (await read(text))._unsafeUnwrap()
    expect(success_condition).toEqual({ output_contains: 'fine' })
  })

  test.each([
    ['empty', '', ['check_command: is missing']],
    [
      'wrong in many ways',
      'check_command: 3\nsuccess_condition:\n  exit_code: one\n  max_seconds: -1\n  stdout: x\n',
      ['check_command', 'success_condition.exit_code', 'success_condition.max_seconds', '"stdout"'],
    ],
    [
      'without any condition',
      'check_command: x\nsuccess_condition: {}\n',
      ['at least one condition'],
    ],
    ['no YAML', 'check_command: "make\n', ['not valid YAML']],
    ['with a key twice', 'check_command: a\ncheck_command: b\n', ['not valid YAML', 'unique']],
    ['a list', '- check_command\n', ['must be a mapping']],
    ['without a command', 'check_command: ""\n', ['check_command: must not be empty']],
    [
      'with a condition in words',
      'check_command: x\nsuccess_condition: exit_code == 0\n',
      ['success_condition: must be a mapping, such as {exit_code: 0}'],
    ],
    [
      'with a condition that there is not',
      'check_command: x\nsuccess_condition:\n  exit: 0\n',
      ['there is no condition "exit"; there are exit_code, output_contains, max_seconds'],
    ],
  ])('that is %s is refused with the file and every problem', async (_what, text, problems) => {
    const error = (await read(text))._unsafeUnwrapErr()
    expect(error).toMatch(/^\/.*\/\.retrai\.yml: /)
    for (const problem of problems) expect(error).toContain(problem)
  })

  test('that does not exist is named in the error', async () => {
    const cwd = await project({})
    const error = (await readShellGoal(cwd))._unsafeUnwrapErr()
    expect(error).toContain(`${cwd}/.retrai.yml: there is no such file`)
  })

  test('is read when a run of the goal is prepared', async () => {
    const prepared = await findGoal('shell-goal')?.prepare?.(await project({ '.retrai.yml': FULL }))
    expect(prepared?._unsafeUnwrap().check_command).toBe('make check')
  })
})

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

  test('runs bash in the project folder', async () => {
    const verdict = await run(
      '[[ -f here.txt ]] && cat here.txt',
      { output_contains: 'found' },
      {
        'here.txt': 'found',
      },
    )
    expect(verdict.verdict).toBe('achieved')
  })

  test('does not read .retrai.yml again: the agent cannot move the goal', async () => {
    const verdict = await run('false', { exit_code: 0 }, { '.retrai.yml': 'check_command: "true"' })
    expect(verdict.verdict).toBe('not_achieved')
  })

  test('without a command in the run gives a verdict', async () => {
    const verdict = await check('shell-goal', await project({}))
    expect(verdict.reason).toMatch(/has no check_command/)
  })
})
