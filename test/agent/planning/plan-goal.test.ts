import { expect, test } from 'vitest'
import { chooseGoal, fittingGoals } from '../../../src/agent/planning/plan-goal.ts'
import { goals } from '../../../src/checks/catalogue.ts'
import { noCheckCommand } from '../../../src/checks/retrai-yml.ts'
import type { GoalRequest } from '../../../src/domain/run-config.ts'
import { project } from '../../checks/support.ts'
import { openWorkspace } from '../../workspace/support.ts'

const CHECK = { command: 'make lint', conditions: { exit_code: 0 } }
const LINT = { check_command: 'make lint', success_condition: { exit_code: 0 } }

const known = { goals, noCommand: () => noCheckCommand('/project', null) }
const settingsOf = (request: GoalRequest) => chooseGoal(request, known)._unsafeUnwrap().config
const problemsOf = (request: GoalRequest) => chooseGoal(request, known)._unsafeUnwrapErr()

test('a check alone is a shell-goal without .retrai.yml', () => {
  expect(settingsOf({ check: CHECK })).toEqual({ goal: 'shell-goal', shell_goal: LINT })
})

test('a check with a goal replaces its command', () => {
  const settings = settingsOf({ goal: 'npm-test', check: CHECK })
  expect(settings).toEqual({ goal: 'npm-test', shell_goal: LINT })
})

test('several goals are recorded in one form, whether by name or with settings', () => {
  expect(settingsOf({ all_of: ['pytest', { goal: 'pyright' }, { check: CHECK }] })).toEqual({
    goal: 'all-of',
    shell_goal: null,
    all_of: [
      { goal: 'pytest', shell_goal: null },
      { goal: 'pyright', shell_goal: null },
      { goal: 'shell-goal', shell_goal: LINT },
    ],
  })
})

test.each<[string, GoalRequest, string, RegExp]>([
  ['nothing', {}, 'goal', /"retrai goals --cwd FOLDER" lists/],
  ['an unknown goal', { goal: 'dance' }, 'goal', /no goal "dance"\. Choose one of: pytest, /],
  ['all-of without goals', { goal: 'all-of' }, 'all_of', /needs all_of/],
  ['a goal beside all_of', { goal: 'pytest', all_of: ['pyright'] }, 'goal', /name each goal in it/],
  ['a check beside all_of', { check: CHECK, all_of: ['pyright'] }, 'check', /name each goal in it/],
  ['all-of in all_of', { all_of: ['pytest', 'all-of'] }, 'all_of.1.goal', /no goal "all-of"/],
  ['an empty item', { all_of: [{}] }, 'all_of.0.goal', /Name a goal/],
  [
    'a check that a goal does not take',
    { goal: 'pyright', check: CHECK },
    'check',
    /takes no check/,
  ],
  [
    'another exit code for tests',
    { goal: 'pytest', check: { command: 'x', conditions: { exit_code: 3 } } },
    'check.conditions.exit_code',
    /needs exit code 0/,
  ],
  [
    'an option that a goal does not take',
    { all_of: [{ goal: 'pytest', goal_options: { max_ms: 3 } }] },
    'all_of.0.goal_options',
    /pytest has no options/,
  ],
  [
    'a goal of an earlier version',
    { all_of: [{ goal: 'perf-check', check: CHECK, goal_options: { max_ms: 3 } }] },
    'all_of.0.goal',
    /no goal "perf-check".*name a check with a command .*docs\/reference\.md/,
  ],
])('%s is refused with the field and what to do', (_what, request, field, message) => {
  expect(problemsOf(request)).toEqual([{ field, message: expect.stringMatching(message) }])
})

test('a shell-goal without any check names both ways to give one', () => {
  const [problem] = problemsOf({ all_of: ['pytest', 'shell-goal'] })
  expect(problem?.field).toBe('all_of.1.goal')
  expect(problem?.message).toMatch(/\.retrai\.yml: there is no such file.*the check of the request/)
})

test('goals that fit a project are listed with the reason, those with tests first', async () => {
  const cwd = await project({
    'pyproject.toml': '',
    'go.mod': 'module a',
    '.retrai.yml': 'check_command: x\n',
  })
  const found = (await fittingGoals(cwd, goals, { dataDir: null, openWorkspace }))._unsafeUnwrap()
  const tests = found.map(({ name, because }) => [name, because])
  expect(tests.slice(0, 3)).toEqual([
    ['shell-goal', '.retrai.yml has a check_command'],
    ['go-test', 'there is a go.mod'],
    ['pytest', 'there is a pyproject.toml'],
  ])
})

test('a folder that runs may not use has no goals', async () => {
  const cwd = await project({})
  const inside = (
    await fittingGoals(cwd, goals, { dataDir: cwd, openWorkspace })
  )._unsafeUnwrapErr()
  expect(inside).toEqual([{ field: 'cwd', message: expect.stringContaining('data folder') }])
  const missing = (
    await fittingGoals(`${cwd}/none`, goals, { dataDir: null, openWorkspace })
  )._unsafeUnwrapErr()
  expect(missing[0]?.message).toContain('does not exist')
})
