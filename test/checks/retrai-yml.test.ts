import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chooseGoal, fittingGoals } from '../../src/agent/planning/plan-goal.ts'
import { goals } from '../../src/checks/catalogue.ts'
import {
  meantKey,
  readProjectSettings,
  withProtected,
  withRules,
  withSettings,
} from '../../src/checks/retrai-yml.ts'
import { type ApprovalRules, judge } from '../../src/domain/approvals/rules.ts'
import type { GoalRequest } from '../../src/domain/run-config.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { startProcess } from '../runner/support.ts'
import { openWorkspace } from '../workspace/support.ts'
import { project } from './support.ts'

const FULL = `goal: shell-goal
model: some-model
check_command: "make check"
success_condition:
  exit_code: 0          # require this exit code
  output_contains: "OK" # and/or this string in stdout
  max_seconds: 10       # and/or run under this time
`

let files: Workspace
beforeAll(async () => {
  files = openWorkspace({ cwd: await mkdtemp(join(tmpdir(), 'retrai-yml-')) })
})
afterAll(async () => {
  await files[Symbol.asyncDispose]()
  await rm(files.cwd, { recursive: true })
})

/** What a project says whose `.retrai.yml` has this text; null: it has none. */
async function read(text: string | null) {
  const file = join(files.cwd, '.retrai.yml')
  await (text === null ? rm(file) : writeFile(file, text))
  return readProjectSettings(files)
}

test('gives the command and all conditions; unknown keys have no effect', async () => {
  expect((await read(FULL))._unsafeUnwrap()).toEqual({
    goal: 'shell-goal',
    check_command: 'make check',
    success_condition: { exit_code: 0, output_contains: 'OK', max_seconds: 10 },
  })
})

test('keys without effect are named where the goal of the file is offered', async () => {
  const text = `${FULL}"limits": {max_seconds: 3}\nnetwork:\n  deep: 1\n# comment: y\n`
  const cwd = await project({ '.retrai.yml': text })
  const [first] = (await fittingGoals(cwd, goals, { dataDir: null, openWorkspace }))._unsafeUnwrap()
  expect(first?.because).toBe('.retrai.yml names it')
  const several = await project({ '.retrai.yml': SEVERAL })
  const offered = await fittingGoals(several, goals, { dataDir: null, openWorkspace })
  expect(offered._unsafeUnwrap()[0]?.name).toBe('all-of')
})

test('a key of another tool is not taken for a misspelled one', () => {
  for (const key of ['tool', 'local', 'model', 'role', 'check', 'proposals', 'goal']) {
    expect(meantKey(key), key).toBeUndefined()
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
  ['no YAML', 'check_command: "make\n', ['not valid YAML']],
  ['with a key twice', 'check_command: a\ncheck_command: b\n', ['not valid YAML', 'unique']],
  ['a list', '- check_command\n', ['expected object']],
  ['with one goal and several', 'goal: pytest\nall_of: [lint]\n', ['not both']],
  [
    'with a rule of an unknown action',
    'approvals: [{tool: bash_exec, action: perhaps}]\n',
    ['approvals.0.action'],
  ],
  ['with one rule for all', 'approval: []\n', ['there is no "approval": did you mean approvals?']],
  ['with a goal misspelled', 'goals: lint\n', ['there is no "goals": did you mean goal?']],
  [
    'with keys in other spellings',
    'checkCommand: x\nsuccess-conditions: {}\nAll_of: []\ngoal_option: {}\n',
    ['mean check_command?', 'mean success_condition?', 'mean all_of?', 'mean goal_options?'],
  ],
])('that is %s is refused with the file and every problem', async (_what, text, problems) => {
  const { message: error, isPassing } = (await read(text))._unsafeUnwrapErr()
  expect(isPassing).toBeUndefined()
  expect(error).toMatch(/^\/.*\/\.retrai\.yml: /)
  for (const problem of problems) expect(error).toContain(problem)
})

test('that cannot be read, because the program that reads it dies, may be read in a moment', async () => {
  const cwd = await project({ '.retrai.yml': 'goal: pytest\n' })
  await using dying = new Workspace({ cwd }, (request) =>
    startProcess({ ...request, args: ['-e', 'process.exit(1)'] }),
  )
  expect((await readProjectSettings(dying))._unsafeUnwrapErr()).toMatchObject({ isPassing: true })
})

/** The goals of a run in a project with this file. */
async function planned(text: string | null, request: GoalRequest) {
  const settings = (await read(text))._unsafeUnwrap()
  const known = { goals, noCommand: () => 'no command' }
  return chooseGoal(withSettings(request, settings), known).map(({ config }) => config)
}

const LINT = `goal: lint
check_command: npm run lint
`
const SEVERAL = `all_of:
  - pytest
  - goal: npm-test
    check: {command: ./test.sh}
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
    const lint = { goal: 'lint', shell_goal: ofCommand('npm run lint') }
    expect((await planned(LINT, {}))._unsafeUnwrap()).toEqual(lint)
    expect((await planned(LINT, { goal: 'lint' }))._unsafeUnwrap()).toEqual(lint)
  })

  test('gets all goals of the file if it names none', async () => {
    const all_of = [
      { goal: 'pytest', shell_goal: null },
      { goal: 'npm-test', shell_goal: ofCommand('./test.sh') },
      { goal: 'shell-goal', shell_goal: ofCommand('make docs') },
    ]
    const expected = { goal: 'all-of', shell_goal: null, all_of }
    expect((await planned(SEVERAL, {}))._unsafeUnwrap()).toEqual(expected)
    expect((await planned(SEVERAL, { goal: 'all-of' }))._unsafeUnwrap()).toEqual(expected)
    const one = (await planned(SEVERAL, { goal: 'npm-test' }))._unsafeUnwrap()
    expect(one).toEqual(all_of[1])
  })

  test('gets what the request names in place of what the file names', async () => {
    const check = { command: 'true', conditions: { exit_code: 0 } }
    expect((await planned(LINT, { goal: 'lint', check }))._unsafeUnwrap()).toEqual({
      goal: 'lint',
      shell_goal: ofCommand('true'),
    })
    expect((await planned(LINT, { goal: 'pytest' }))._unsafeUnwrap()).toEqual({
      goal: 'pytest',
      shell_goal: null,
    })
    expect((await planned(LINT, { check }))._unsafeUnwrap()).toEqual({
      goal: 'shell-goal',
      shell_goal: ofCommand('true'),
    })
    const listed = await planned(LINT, { all_of: ['pyright', 'lint', 'shell-goal'] })
    expect(listed._unsafeUnwrap().all_of?.map(({ shell_goal }) => shell_goal)).toEqual([
      null,
      ofCommand('npm run lint'),
      ofCommand('npm run lint'),
    ])
  })

  test('is refused if the file names an unknown goal, as if the request named it', async () => {
    const [problem] = (await planned('goal: dance\n', {}))._unsafeUnwrapErr()
    expect(problem).toEqual({ field: 'goal', message: expect.stringContaining('no goal "dance"') })
    const removed = await planned('goal: coverage\ngoal_options: {min_percent: 80}\n', {})
    expect(removed._unsafeUnwrapErr()).toEqual([
      { field: 'goal', message: expect.stringMatching(/no goal "coverage".*name a check/) },
    ])
    const [none] = (await planned(null, {}))._unsafeUnwrapErr()
    expect(none?.message).toContain('here or in .retrai.yml of the project')
  })
})

test('the file adds protected files to those of the request', async () => {
  const settings = (await read('protect: [a/**, b]\n'))._unsafeUnwrap()
  expect(withProtected({ protect: ['b', 'c'] }, settings)._unsafeUnwrap()).toEqual([
    'b',
    'c',
    'a/**',
  ])
  expect(withProtected({}, settings)._unsafeUnwrap()).toEqual(['a/**', 'b'])
  expect(withProtected({}, null)._unsafeUnwrap()).toBeUndefined()
  const many = Array.from({ length: 99 }, (_, at) => String(at))
  expect(withProtected({ protect: many }, settings)._unsafeUnwrapErr()).toContain('too many')
  expect((await read('protect: [../a]\n'))._unsafeUnwrapErr().message).toContain(
    'must not lead out of the project',
  )
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
