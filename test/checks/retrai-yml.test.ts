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

const COMMAND = 'check_command: make check\n'
const LINT = `goal: lint
check_command: npm run lint
`
const SEVERAL = `all_of:
  - pytest
  - goal: npm-test
    check: {command: ./test.sh}
  - check: {command: make docs}
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
const settingsOf = async (text: string | null) => (await read(text))._unsafeUnwrap()

test('gives the command and its conditions, exit code 0 if it has none; unknown keys have no effect', async () => {
  expect(await settingsOf(FULL)).toEqual({
    goal: 'shell-goal',
    check_command: 'make check',
    success_condition: { exit_code: 0, output_contains: 'OK', max_seconds: 10 },
  })
  const conditions = async (text: string) => (await settingsOf(text))?.success_condition
  expect(await conditions('check_command: make check\n')).toEqual({ exit_code: 0 })
  const one = 'check_command: x\nsuccess_condition:\n  output_contains: fine\n'
  expect(await conditions(one)).toEqual({ output_contains: 'fine' })
})

test.each([
  [
    'goal',
    `${FULL}"limits": {max_seconds: 3}\n# comment: y\n`,
    'shell-goal',
    '.retrai.yml names it',
  ],
  ['goals', SEVERAL, 'all-of', '.retrai.yml names its goals'],
])('the %s of the file come first among those that fit', async (_, text, name, because) => {
  const cwd = await project({ '.retrai.yml': text })
  const [first] = (await fittingGoals(cwd, goals, { dataDir: null, openWorkspace }))._unsafeUnwrap()
  expect(first).toMatchObject({ name, because })
})

test('a key of another tool is not taken for a misspelled one', () => {
  for (const key of ['tool', 'local', 'model', 'role', 'check', 'proposals', 'goal']) {
    expect(meantKey(key), key).toBeUndefined()
  }
  expect(['goals', 'All-Of', 'aprovals'].map(meantKey)).toEqual(['goal', 'all_of', 'approvals'])
})

test.each([
  [
    'check_command: 3\nsuccess_condition:\n  exit_code: one\n  max_seconds: -1\n  stdout: x\n',
    ['check_command', 'success_condition.exit_code', 'success_condition.max_seconds', '"stdout"'],
  ],
  ['check_command: "make\n', ['not valid YAML']],
  ['check_command: a\ncheck_command: b\n', ['not valid YAML', 'unique']],
  ['- check_command\n', ['expected object']],
  ['goal: pytest\nall_of: [lint]\n', ['not both']],
  ['approvals: [{tool: bash_exec, action: perhaps}]\n', ['approvals.0.action']],
  ['approval: []\n', ['there is no "approval": did you mean approvals?']],
  ['goals: lint\n', ['there is no "goals": did you mean goal?']],
  [
    'checkCommand: x\nsuccess-conditions: {}\nAll_of: []\ngoal_option: {}\n',
    ['mean check_command?', 'mean success_condition?', 'mean all_of?', 'mean goal_options?'],
  ],
])('%j is refused with the file and every problem', async (text, problems) => {
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
async function chosenBy(text: string | null, request: GoalRequest) {
  const known = { goals, noCommand: () => 'no command' }
  const chosen = chooseGoal(withSettings(request, await settingsOf(text)), known)
  return chosen.map(({ config }) => config)
}

const ofCommand = (check_command: string) => ({
  check_command,
  success_condition: { exit_code: 0 },
})

const ALL_OF = [
  { goal: 'pytest', shell_goal: null },
  { goal: 'npm-test', shell_goal: ofCommand('./test.sh') },
  { goal: 'shell-goal', shell_goal: ofCommand('make docs') },
]
const ALL = { goal: 'all-of', shell_goal: null, all_of: ALL_OF }
const ofLint = { goal: 'lint', shell_goal: ofCommand('npm run lint') }
const check = { command: 'true', conditions: { exit_code: 0 } }

describe('a run in a project with the file', () => {
  test.each<[string, string, GoalRequest, object | undefined]>([
    // It gets the goals of the file if it names none.
    ['a command', COMMAND, {}, { goal: 'shell-goal', shell_goal: ofCommand('make check') }],
    ['a goal', LINT, {}, ofLint],
    ['the check of a goal', LINT, { goal: 'lint' }, ofLint],
    ['several goals', SEVERAL, {}, ALL],
    ['several goals', SEVERAL, { goal: 'all-of' }, ALL],
    ['one of several goals', SEVERAL, { goal: 'npm-test' }, ALL_OF[1]],
    // What it names replaces what the file names.
    ['no check', LINT, { goal: 'lint', check }, { goal: 'lint', shell_goal: ofCommand('true') }],
    ['no goal', LINT, { goal: 'pytest' }, { goal: 'pytest', shell_goal: null }],
    ['nothing', LINT, { check }, { goal: 'shell-goal', shell_goal: ofCommand('true') }],
    [
      'the checks of goals',
      LINT,
      { all_of: ['pyright', 'lint', 'shell-goal'] },
      {
        ...ALL,
        all_of: [{ goal: 'pyright', shell_goal: null }, ofLint, { ...ofLint, goal: 'shell-goal' }],
      },
    ],
  ])('gets %s of %j for %j', async (_, text, request, config) => {
    expect((await chosenBy(text, request))._unsafeUnwrap()).toEqual(config)
  })

  test('is refused if the file names an unknown goal, as if the request named it', async () => {
    const [problem] = (await chosenBy('goal: dance\n', {}))._unsafeUnwrapErr()
    expect(problem).toEqual({ field: 'goal', message: expect.stringContaining('no goal "dance"') })
    const [none] = (await chosenBy(null, {}))._unsafeUnwrapErr()
    expect(none?.message).toContain('here or in .retrai.yml of the project')
  })
})

test('the file adds protected files to those of the request', async () => {
  const settings = await settingsOf('protect: [a/**, b]\n')
  const both = withProtected({ protect: ['b', 'c'] }, settings)._unsafeUnwrap()
  expect(both).toEqual(['b', 'c', 'a/**'])
  expect(withProtected({}, settings)._unsafeUnwrap()).toEqual(['a/**', 'b'])
  expect(withProtected({}, null)._unsafeUnwrap()).toBeUndefined()
  const many = Array.from({ length: 99 }, (_, at) => String(at))
  expect(withProtected({ protect: many }, settings)._unsafeUnwrapErr()).toContain('too many')
  expect((await read('protect: [../a]\n'))._unsafeUnwrapErr().message).toContain(
    'must not lead out of the project',
  )
})

describe('rules of the file', () => {
  const settingsWith = (approvals: string) => settingsOf(`approvals: ${approvals}\n`)
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
