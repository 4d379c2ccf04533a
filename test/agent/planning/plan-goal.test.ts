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

test('a check alone is a shell-goal without .retrai.yml, and with a goal it replaces its command', () => {
  expect(settingsOf({ check: CHECK })).toEqual({ goal: 'shell-goal', shell_goal: LINT })
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

const WITH_OPTIONS = { goal_options: { max_ms: 3 } }

test.each<[GoalRequest, field: string, message: RegExp]>([
  [{}, 'goal', /"retrai goals --cwd FOLDER" lists/],
  [{ goal: 'dance' }, 'goal', /no goal "dance"\. Choose one of: pytest, /],
  [{ goal: 'all-of' }, 'all_of', /needs all_of/],
  [{ goal: 'pytest', all_of: ['pyright'] }, 'goal', /name each goal in it/],
  [{ check: CHECK, all_of: ['pyright'] }, 'check', /name each goal in it/],
  [{ all_of: ['pytest', 'all-of'] }, 'all_of.1.goal', /no goal "all-of"/],
  [{ all_of: [{}] }, 'all_of.0.goal', /Name a goal/],
  [{ goal: 'pyright', check: CHECK }, 'check', /takes no check/],
  [
    { goal: 'pytest', check: { command: 'x', conditions: { exit_code: 3 } } },
    'check.conditions.exit_code',
    /needs exit code 0/,
  ],
  [
    { all_of: [{ goal: 'pytest', ...WITH_OPTIONS }] },
    'all_of.0.goal_options',
    /pytest has no options/,
  ],
  // A goal of an earlier version.
  [
    { all_of: [{ goal: 'perf-check', check: CHECK, ...WITH_OPTIONS }] },
    'all_of.0.goal',
    /no goal "perf-check".*name a check with a command .*docs\/reference\.md/,
  ],
  // The shell-goal has no check, and there are two ways to give one.
  [
    { all_of: ['pytest', 'shell-goal'] },
    'all_of.1.goal',
    /\.retrai\.yml: there is no such file.*the check of the request/,
  ],
])('%j is refused with the field and what to do', (request, field, message) => {
  expect(problemsOf(request)).toEqual([{ field, message: expect.stringMatching(message) }])
})

test('a folder that runs may not use has no goals', async () => {
  const dataDir = await project({})
  for (const [folder, words] of [
    [dataDir, 'data folder'],
    [`${dataDir}/none`, 'does not exist'],
  ] as const) {
    const found = await fittingGoals(folder, goals, { dataDir, openWorkspace })
    const message = expect.stringContaining(words)
    expect(found._unsafeUnwrapErr()).toEqual([{ field: 'cwd', message }])
  }
})
