import { describe, expect, test } from 'vitest'
import { goals } from '../../../src/agent/goals/catalogue.ts'
import { settingsFor, withRules, withSettings } from '../../../src/agent/goals/project-settings.ts'
import {
  keysWithoutEffect,
  meantKey,
  readProjectSettings,
} from '../../../src/agent/goals/retrai-yml.ts'
import { chooseGoal, fittingGoals, prepareGoal } from '../../../src/agent/plan-goal.ts'
import { type ApprovalRules, judge } from '../../../src/domain/approvals/rules.ts'
import type { GoalRequest } from '../../../src/domain/requested-goal.ts'
import { openWorkspace, workspaceOf } from '../../workspace/support.ts'
import { project } from './support.ts'

const FULL = `goal: shell-goal
model: some-model
check_command: "make check"
success_condition:
  exit_code: 0          # require this exit code
  output_contains: "OK" # and/or this string in stdout
  max_seconds: 10       # and/or run under this time
`

const read = async (text: string) =>
  readProjectSettings(workspaceOf(await project({ '.retrai.yml': text })))

test('gives the command and all conditions; unknown keys have no effect', async () => {
  expect((await read(FULL))._unsafeUnwrap()).toEqual({
    goal: 'shell-goal',
    check_command: 'make check',
    success_condition: { exit_code: 0, output_contains: 'OK', max_seconds: 10 },
  })
})

test('keys without effect are named where the goal of the file is offered', async () => {
  expect(keysWithoutEffect(FULL)).toEqual(['model'])
  const text = `${FULL}"limits": {max_seconds: 3}\nnetwork:\n  deep: 1\nmodel : x\n# comment: y\n`
  expect(keysWithoutEffect(text)).toEqual(['model', 'limits', 'network'])
  const cwd = await project({ '.retrai.yml': text })
  const [first] = (await fittingGoals(cwd, goals, { dataDir: null, openWorkspace }))._unsafeUnwrap()
  expect(first?.because).toBe(
    '.retrai.yml names it (in .retrai.yml, model, limits, network have no effect)',
  )
})

test('a key of another tool is not taken for a misspelled one', () => {
  for (const key of ['tool', 'local', 'model', 'role', 'check', 'proposals', 'goal']) {
    expect(meantKey(key), key).toBeNull()
  }
  expect(['goals', 'All-Of', 'aprovals'].map(meantKey)).toEqual(['goal', 'all_of', 'approvals'])
})

test('requires exit code 0 if it has no condition, and otherwise only its conditions', async () => {
  const conditions = async (text: string) => (await read(text))._unsafeUnwrap()?.success_condition
  expect(await conditions('check_command: make check\n')).toEqual({ exit_code: 0 })
  const one = 'check_command: x\nsuccess_condition:\n  output_contains: fine\n'
  expect(await conditions(one)).toEqual({ output_contains: 'fine' })
})

test.each([
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
  [
    'with an unknown option',
    'goal_options: {colour: red}\n',
    ['goal_options: there is no "colour"'],
  ],
  ['with an option that is too large', 'goal_options: {runs: 1000}\n', ['goal_options.runs']],
  ['with one goal and several', 'goal: pytest\nall_of: [lint]\n', ['not both']],
  ['with goals that are no list', 'all_of: pytest\n', ['all_of: must be a list']],
  [
    'with a rule of an unknown action',
    'approvals: [{tool: bash_exec, action: perhaps}]\n',
    ['approvals.0.action'],
  ],
  ['with one rule for all', 'approval: []\n', ['there is no "approval": did you mean approvals?']],
  ['with a goal misspelled', 'gaol: lint\n', ['there is no "gaol": did you mean goal?']],
  [
    'with keys in other spellings',
    'checkCommand: x\nsuccess-conditions: {}\nAll_of: []\ngoal_option: {}\n',
    ['mean check_command?', 'mean success_condition?', 'mean all_of?', 'mean goal_options?'],
  ],
])('that is %s is refused with the file and every problem', async (_what, text, problems) => {
  const error = (await read(text))._unsafeUnwrapErr()
  expect(error).toMatch(/^\/.*\/\.retrai\.yml: /)
  for (const problem of problems) expect(error).toContain(problem)
})

/** The goals of a run in a project with this file. */
async function planned(text: string | null, request: GoalRequest) {
  const cwd = await project(text === null ? {} : { '.retrai.yml': text })
  const settings = (await settingsFor(workspaceOf(cwd), request))._unsafeUnwrap()
  const chosen = chooseGoal(withSettings(request, settings), goals)
  return chosen.andThen((goal) => prepareGoal(goal, () => 'no command'))
}

const COVERAGE = `goal: coverage
check_command: npm run coverage
goal_options: {min_percent: 80, report: coverage/lcov.info}
`
const SEVERAL = `all_of:
  - pytest
  - goal: perf-check
    check: {command: ./bench.sh}
    goal_options: {max_ms: 200}
  - check: {command: make docs}
`
const ofCommand = (check_command: string) => ({
  check_command,
  success_condition: { exit_code: 0 },
})

describe('a run in a project with the file', () => {
  test('gets the goal of the file if it names none', async () => {
    expect((await planned('check_command: make check\n', {}))._unsafeUnwrap()).toEqual({
      goal: 'shell-goal',
      shell_goal: ofCommand('make check'),
    })
    const coverage = {
      goal: 'coverage',
      shell_goal: ofCommand('npm run coverage'),
      goal_options: { min_percent: 80, report: 'coverage/lcov.info' },
    }
    expect((await planned(COVERAGE, {}))._unsafeUnwrap()).toEqual(coverage)
    expect((await planned(COVERAGE, { goal: 'coverage' }))._unsafeUnwrap()).toEqual(coverage)
  })

  test('gets all goals of the file if it names none', async () => {
    const all_of = [
      { goal: 'pytest', shell_goal: null },
      {
        ...{ goal: 'perf-check', shell_goal: ofCommand('./bench.sh') },
        goal_options: { max_ms: 200 },
      },
      { goal: 'shell-goal', shell_goal: ofCommand('make docs') },
    ]
    const expected = { goal: 'all-of', shell_goal: null, all_of }
    expect((await planned(SEVERAL, {}))._unsafeUnwrap()).toEqual(expected)
    expect((await planned(SEVERAL, { goal: 'all-of' }))._unsafeUnwrap()).toEqual(expected)
    const one = (await planned(SEVERAL, { goal: 'perf-check' }))._unsafeUnwrap()
    expect(one).toEqual(all_of[1])
  })

  test('gets what the request names in place of what the file names', async () => {
    const check = { command: 'true', conditions: { exit_code: 0 } }
    const own = await planned(COVERAGE, { goal: 'coverage', goal_options: { min_percent: 95 } })
    expect(own._unsafeUnwrap()).toEqual({
      goal: 'coverage',
      shell_goal: ofCommand('npm run coverage'),
      goal_options: { min_percent: 95 },
    })
    expect((await planned(COVERAGE, { goal: 'pytest' }))._unsafeUnwrap()).toEqual({
      goal: 'pytest',
      shell_goal: null,
    })
    expect((await planned(COVERAGE, { check }))._unsafeUnwrap()).toEqual({
      goal: 'shell-goal',
      shell_goal: ofCommand('true'),
    })
    const listed = await planned(COVERAGE, { all_of: ['pyright', 'coverage', 'shell-goal'] })
    expect(listed._unsafeUnwrap().all_of?.map(({ shell_goal }) => shell_goal)).toEqual([
      null,
      ofCommand('npm run coverage'),
      ofCommand('npm run coverage'),
    ])
  })

  test('is refused if the file names an unknown goal, as if the request named it', async () => {
    const [problem] = (await planned('goal: dance\n', {}))._unsafeUnwrapErr()
    expect(problem).toEqual({ field: 'goal', message: expect.stringContaining('no goal "dance"') })
    const [none] = (await planned(null, {}))._unsafeUnwrapErr()
    expect(none?.message).toContain('here or in .retrai.yml of the project')
  })

  test('reads only rules from the file if its goal has no settings there', async () => {
    const isRead = async (text: string, request: GoalRequest) =>
      (await settingsFor(workspaceOf(await project({ '.retrai.yml': text })), request)).isErr()
    const broken = 'check_command: "make\n'
    expect(await isRead(broken, { goal: 'pytest' })).toBe(false)
    expect(await isRead(broken, {})).toBe(true)
    expect(await isRead(broken, { goal: 'shell-goal' })).toBe(true)
    for (const rules of ['approvals: []', 'approval: []', '{"aprovals" : []}']) {
      expect(await isRead(`${broken}${rules}\n`, { goal: 'pytest' })).toBe(true)
    }
    expect(await isRead('approval: []\n', { goal: 'pytest' })).toBe(true)
  })

  test('is offered the goal that the file names first', async () => {
    const offered = async (text: string) => {
      const cwd = await project({ '.retrai.yml': text, 'package.json': '{"scripts":{"test":"x"}}' })
      const [first] = (
        await fittingGoals(cwd, goals, { dataDir: null, openWorkspace })
      )._unsafeUnwrap()
      return [first?.name, first?.because]
    }
    expect(await offered(COVERAGE)).toEqual(['coverage', '.retrai.yml names it'])
    expect(await offered(SEVERAL)).toEqual(['all-of', '.retrai.yml names its goals'])
  })
})

describe('rules of the file', () => {
  const settingsWith = async (approvals: string) =>
    (await read(`approvals: ${approvals}\n`))._unsafeUnwrap()
  const push = { tool: 'bash_exec', touches: { commands: ['git push'] }, costUsd: 0 }
  const action = (run: ApprovalRules | undefined) =>
    judge(push, { run: run ?? [], server: [], lifted: [] }).action

  test('can only make a run stricter', async () => {
    const denies = await settingsWith('[{command: "git *", action: deny}]')
    const allows = await settingsWith('[{command: "**", action: allow}]')
    const asks: ApprovalRules = [{ command: 'git push *', action: 'ask' }]
    const join = (approvals: ApprovalRules | undefined, settings: typeof denies) =>
      withRules({ approvals }, settings)._unsafeUnwrap()
    expect(action(join(undefined, denies))).toBe('deny')
    expect(action(join(asks, allows))).toBe('ask')
    expect(action(join(asks, denies))).toBe('ask')
    expect(join(undefined, null)).toBeUndefined()
    // A sub-agent has the rules of its parent already.
    expect(join(denies?.approvals, denies)).toEqual(denies?.approvals)
  })

  test('are refused if they are too many together with those of the request', async () => {
    const many: ApprovalRules = Array.from({ length: 64 }, (_, index) => {
      return { tool: `tool-${index}`, action: 'deny' }
    })
    const settings = await settingsWith('[{tool: x, action: ask}]')
    expect(withRules({ approvals: many }, settings)._unsafeUnwrapErr()).toContain('too many')
  })
})
