import { describe, expect, test } from 'vitest'
import { fittingGoals } from '../../src/agent/planning/plan-goal.ts'
import { goals } from '../../src/checks/catalogue.ts'
import type { Verdict } from '../../src/domain/verdict.ts'
import type { CommandResult, RunCommand } from '../../src/runner/command.ts'
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
      const reason = expect.stringContaining(`no goal ${name}`)
      const verdict = { verdict: 'cannot_check', reason }
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

  const ENDS: readonly [CommandResult['end'], string, Verdict, RegExp][] = [
    [
      'timed_out',
      'still at it',
      'not_achieved',
      /did not finish within [12]0 minutes and was stop/,
    ],
    // What runs its check has died twice.
    ['lost', 'half of it', 'not_achieved', /^How .* ended is not known, because .* died twice dur/],
    ['aborted', '', 'not_achieved', /was stopped together with the run$/],
    ['not_started', 'Denied', 'cannot_check', /could not be started: Denied$/],
  ]

  describe.each(['cargo-test', 'shell-goal'])('%s', (name) => {
    test.each(ENDS)(
      'says how its check ended if that is %s',
      async (end, output, verdict, reason) => {
        const runCommand: RunCommand = async () => ({
          end,
          exitCode: null,
          stdout: output,
          stderr: '',
          output,
          bytes: output.length,
          durationMs: 1,
        })
        expect(await check(name, await project(PACKAGE), { runCommand, shellGoal })).toEqual({
          verdict,
          reason: expect.stringMatching(reason),
          details: output,
        })
      },
    )
  })
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
    [
      'several, of which those with tests come first',
      { 'pyproject.toml': '', 'go.mod': '', '.retrai.yml': 'check_command: x\n' },
      ['shell-goal', 'go-test', 'pytest', 'lint'],
    ],
    ['settings alone', { '.retrai.yml': 'model: x\n' }, []],
  ])('%s', async (_what, files, expected) => {
    const options = { dataDir: null, openWorkspace }
    const found = (await fittingGoals(await project(files), goals, options))._unsafeUnwrap()
    expect(found.map(({ name }) => name)).toEqual(expected)
    expect(found.every(({ because }) => because !== '')).toBe(true)
  })
})
