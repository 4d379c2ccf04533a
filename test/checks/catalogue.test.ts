import { describe, expect, test } from 'vitest'
import { fittingGoals } from '../../src/agent/planning/plan-goal.ts'
import { goals } from '../../src/checks/catalogue.ts'
import type { CommandResult } from '../../src/runner/command.ts'
import { openWorkspace } from '../workspace/support.ts'
import { check, type Files, project, withPath } from './support.ts'

const names = goals.map(({ name }) => name)
/** The other goals have no command of their own, and are tested elsewhere. */
const OTHERS = ['lint', 'all-of', 'instructions']
const single = names.filter((name) => !OTHERS.includes(name))
const shellGoal = { check_command: 'true', success_condition: { exit_code: 0 } }
const PACKAGE = { 'package.json': '{"scripts":{"test":"node --test"}}' }

describe('the table of goals', () => {
  test.each(['coverage', 'perf-check', 'api-test'])(
    'has no goal %s, so a run that an earlier version began with it cannot be checked',
    async (name) => {
      const verdict = {
        verdict: 'cannot_check',
        reason: expect.stringContaining(`no goal ${name}`),
      }
      expect(await check(name, '/')).toMatchObject(verdict)
      const all_of = [{ goal: name, shell_goal: null }]
      expect(await check('all-of', '/', { config: { all_of } })).toMatchObject(verdict)
    },
  )

  test.each(single)(
    '%s: if its program is missing, the verdict says what to install',
    async (name) => {
      const empty = await project({})
      const verdict = await check(name, await project(PACKAGE), {
        runCommand: withPath(empty),
        shellGoal,
      })
      expect(verdict.verdict).toBe('cannot_check')
      expect(verdict.reason).toMatch(/^\w+ is not installed: install /)
    },
  )

  const ending =
    (end: CommandResult['end'], output = '') =>
    async (): Promise<CommandResult> => ({
      ...{ end, exitCode: null, stdout: output, stderr: '', output },
      ...{ bytes: output.length, durationMs: 1 },
    })

  test.each(['cargo-test', 'shell-goal'])(
    '%s: if its check does not end by itself, the verdict says how',
    async (name) => {
      const cwd = await project(PACKAGE)
      const late = ending('timed_out', 'still at it')
      const verdict = await check(name, cwd, { runCommand: late, shellGoal })
      expect(verdict).toMatchObject({ verdict: 'not_achieved', details: 'still at it' })
      expect(verdict.reason).toMatch(/did not finish within [12]0 minutes and was stopped$/)
      const runCommand = ending('not_started', 'Permission denied')
      const { reason } = await check(name, cwd, { runCommand, shellGoal })
      expect(reason).toMatch(/could not be started: Permission denied$/)
    },
  )

  test('if what runs its check dies twice, it is not known how that ended, and it is not achieved', async () => {
    const runCommand = ending('lost', 'half of it')
    const verdict = await check('cargo-test', '/', { runCommand, shellGoal })
    expect(verdict).toMatchObject({ verdict: 'not_achieved', details: 'half of it' })
    expect(verdict.reason).toMatch(/^How .* ended is not known, because .* died twice during it$/)
  })

  test.each(['cargo-test', 'shell-goal'])(
    '%s: if its check is aborted, it is not achieved',
    async (name) => {
      const abort = new AbortController()
      abort.abort()
      const options = { signal: abort.signal, shellGoal }
      const verdict = await check(name, await project(PACKAGE), options)
      expect(verdict.verdict).toBe('not_achieved')
      expect(verdict.reason).toMatch(/was stopped together with the run$/)
    },
  )
})

describe('suggested goals', () => {
  test.each<[string, Files, string[]]>([
    ['nothing', { 'README.md': '' }, []],
    ['pyproject.toml', { 'pyproject.toml': '' }, ['pytest']],
    ['tests/test_a.py', { 'tests/test_a.py': '' }, ['pytest']],
    ['tests without Python', { 'tests/a.rs': '' }, []],
    ['pyrightconfig.json', { 'pyrightconfig.json': '{}' }, ['pyright']],
    ['a test script', PACKAGE, ['npm-test']],
    ['bun.lock', { 'package.json': '{}', 'bun.lock': '' }, ['bun-test']],
    ['bun test', { 'package.json': '{"scripts":{"test":"bun test"}}' }, ['npm-test', 'bun-test']],
    ['a package without tests', { 'package.json': '{"name":"a"}' }, []],
    ['Cargo.toml', { 'Cargo.toml': '' }, ['cargo-test', 'lint']],
    ['go.mod', { 'go.mod': '' }, ['go-test', 'lint']],
    ['a Makefile', { Makefile: '.PHONY: test\nCC = cc\n\nlint test: build\n\tx\n' }, ['make-test']],
    ['a Makefile without tests', { Makefile: 'test := 1\nlatest:\n\tx\n.PHONY: test\n' }, []],
    ['.retrai.yml', { '.retrai.yml': 'check_command: x\n' }, ['shell-goal']],
    ['settings alone', { '.retrai.yml': 'model: x\n' }, []],
  ])('%s', async (_what, files, expected) => {
    const cwd = await project(files)
    const found: string[] = []
    for (const goal of (
      await fittingGoals(cwd, goals, { dataDir: null, openWorkspace })
    )._unsafeUnwrap()) {
      expect(goal.because).not.toBe('')
      found.push(goal.name)
    }
    expect(found).toEqual(expected)
  })
})
