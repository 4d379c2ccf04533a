import { expect, test } from 'vitest'
import type { ShellGoal } from '../../src/domain/run-config.ts'
import type { Verdict } from '../../src/domain/verdict.ts'
import { check, project } from './support.ts'

const missing = (what: string) =>
  `${what} was not found: install it, or correct the check_command for a new run; exit code 0 is required, but it ended with exit code 127`

test.each<[string, ShellGoal['success_condition'], Verdict, ...string[]]>([
  [
    'echo all OK',
    { exit_code: 0, output_contains: 'OK', max_seconds: 100 },
    'achieved',
    '`echo all OK` succeeded with exit code 0, "OK" in its standard output',
    'less than 100 s (it took 0.',
  ],
  [
    'echo broken; sleep 0.2; exit 3',
    { exit_code: 0, output_contains: 'OK', max_seconds: 0.1 },
    'not_achieved',
    'exit code 0 is required, but it ended with exit code 3',
    '"OK" in its standard output is required, but its last line was "broken"',
    'less than 0.1 s is required, but it took 0.',
  ],
  ['frobnicate --all', { exit_code: 0 }, 'cannot_check', missing('frobnicate')],
  ['sh -c frobnicate', { exit_code: 0 }, 'cannot_check', missing('frobnicate')],
  // The agent may have to write it.
  ['./check.sh', { exit_code: 0 }, 'not_achieved', missing('./check.sh')],
  ['exit 127', { exit_code: 0 }, 'not_achieved', missing('one of its programs')],
  // Only the conditions that are set count, and the string must be in stdout.
  ['echo OK; exit 3', { output_contains: 'OK' }, 'achieved'],
  ['exit 3', { exit_code: 3 }, 'achieved'],
  ['echo OK >&2', { output_contains: 'OK' }, 'not_achieved', 'it printed nothing'],
])('%s with %j is %s', async (check_command, success_condition, wanted, ...parts) => {
  const shellGoal = { check_command, success_condition }
  const { verdict, reason } = await check('shell-goal', await project({}), { shellGoal })
  expect(verdict).toBe(wanted)
  for (const part of parts) expect(reason).toContain(part)
})

test('.retrai.yml is not read again: the agent cannot move the goal', async () => {
  const cwd = await project({ '.retrai.yml': 'check_command: "true"' })
  const shellGoal = { check_command: 'echo broken; false', success_condition: { exit_code: 0 } }
  expect(await check('shell-goal', cwd, { shellGoal })).toMatchObject({
    verdict: 'not_achieved',
    details: 'broken',
  })
  expect((await check('shell-goal', cwd)).reason).toMatch(/has no check_command/)
})
