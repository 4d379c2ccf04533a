import { describe, expect, test } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { check, project } from './support.ts'

const IMPORTS = "const test = require('node:test'); const assert = require('node:assert')\n"
const packageJson = (script?: string): string =>
  JSON.stringify({ name: 'sums', scripts: script === undefined ? {} : { test: script } })

describe('npm-test on real projects', () => {
  const node = (script: string, tests: string) =>
    project({ 'package.json': packageJson(script), 'a.test.js': `${IMPORTS}${tests}` })

  test('passes, with the totals of the runner', async () => {
    const cwd = await node('node --test', "test('one', () => {}); test('two', () => {})")
    const verdict = await check('npm-test', cwd)
    expect(verdict).toMatchObject({ verdict: 'achieved', reason: 'All 2 tests passed' })
  })

  test('fails, with the names of the tests', async () => {
    const cwd = await node(
      'node --test',
      "test('adds', () => assert.equal(1, 2)); test('two', () => {})",
    )
    const verdict = await check('npm-test', cwd)
    expect(verdict).toMatchObject({ verdict: 'not_achieved', reason: '1 of 2 tests failing: adds' })
    expect(verdict.details).toContain('1 == 2')
  })

  test('failures before `|| true` are failures', async () => {
    const cwd = await node('node --test || true', "test('adds', () => assert.equal(1, 2))")
    const verdict = await check('npm-test', cwd)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe('1 of 1 test failing: adds; npm test hides this with exit code 0')
  })

  test('without tests, the goal is not achieved', async () => {
    const verdict = await check(
      'npm-test',
      await project({ 'package.json': packageJson('node --test') }),
    )
    expect(verdict).toMatchObject({
      verdict: 'not_achieved',
      reason: 'No test was run: the test script of package.json found none',
    })
  })

  test.each([
    ['without a script', packageJson()],
    ['with an empty script', packageJson(' ')],
    ['with the script of npm init', packageJson('echo "Error: no test specified" && exit 1')],
    ['that is no JSON', '{'],
  ])('a package.json %s gives a verdict with the reason', async (_what, text) => {
    const verdict = await check('npm-test', await project({ 'package.json': text }))
    expect(verdict.verdict).toBe('cannot_check')
    expect(verdict.reason).toMatch(/^There is no test script/)
  })

  test('for a runner without totals, the exit code and the last output count', async () => {
    const cwd = await project({ 'package.json': packageJson('echo checked && exit 4') })
    const verdict = await check('npm-test', cwd)
    expect(verdict.reason).toBe('npm test ended with exit code 4: checked')
  })
})

describe.skipIf(isMissing('make'))('make-test on real projects', () => {
  const make = async (makefile: string, files = {}) =>
    check('make-test', await project({ Makefile: makefile, ...files }))

  test('passes', async () => {
    const verdict = await make('test:\n\t@echo all is well\n')
    expect(verdict).toMatchObject({ verdict: 'achieved', reason: 'make test passed: all is well' })
  })

  test('fails', async () => {
    const verdict = await make('test:\n\t@echo "sums are off" && exit 3\n')
    expect(verdict).toMatchObject({
      verdict: 'not_achieved',
      reason: 'make test ended with exit code 2: sums are off',
    })
  })

  test('a crash is reported with its signal, and a failed build with the first error of the compiler', async () => {
    const crashed = await make('test:\n\t@echo begun; kill -SEGV $$$$\n')
    expect(crashed.reason).toMatch(/exit code 2: make: .*Segmentation fault/)
    const broken = await make('test:\n\t@echo "a.c:3:1: error: no"; echo more; echo; exit 1\n')
    expect(broken.reason).toBe('make test ended with exit code 2: a.c:3:1: error: no')
  })

  test('uses the totals of the runner that it calls', async () => {
    const verdict = await make(
      "test:\n\t-@echo 'FAILED t.py::test_a'; echo '1 failed, 2 passed in 0.1s'\n",
    )
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('1 of 3 tests failing: t.py::test_a')
  })

  test.each([
    ['a file named test', 'test:\n\t@echo never\n', { test: '' }],
    ['a rule without a recipe', 'test: other\nother:\n', {}],
  ])('%s makes it run nothing, so the goal is not achieved', async (_what, makefile, files) => {
    const verdict = await make(makefile, files)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^make test ran nothing/)
  })

  test('without a rule for test, the goal cannot be checked', async () => {
    const verdict = await make('build:\n\ttrue\n')
    expect(verdict.verdict).toBe('cannot_check')
    expect(verdict.reason).toContain("No rule to make target 'test'")
  })
})
