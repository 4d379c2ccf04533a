import { describe, expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { check, type Files, project } from './support.ts'

const IMPORTS = "const test = require('node:test'); const assert = require('node:assert')\n"
const packageJson = (script?: string): string =>
  JSON.stringify({ name: 'sums', scripts: script === undefined ? {} : { test: script } })

describe('npm-test on real projects', () => {
  const node = (script: string, tests: string) =>
    project({ 'package.json': packageJson(script), 'a.test.js': `${IMPORTS}${tests}` })

  test.each([
    ['node --test', "test('one', () => {}); test('two', () => {})", /^All 2 tests passed$/],
    [
      'node --test',
      "test('adds', () => assert.equal(1, 2)); test('two', () => {})",
      /^1 of 2 tests failing: adds$/,
    ],
    [
      'node --test || true',
      "test('adds', () => assert.equal(1, 2))",
      /^1 of 1 test failing: adds; npm test hides this with exit code 0$/,
    ],
  ])('%s of %s has the totals and the names of the runner', async (script, tests, reason) => {
    const { verdict, reason: given } = await check('npm-test', await node(script, tests))
    expect(given).toMatch(reason)
    expect(verdict).toBe(given.startsWith('All') ? 'achieved' : 'not_achieved')
  })

  test.each([
    ['without tests', 'node --test', 'No test was run: the test script of package.json found none'],
    // The exit code and the last output count.
    [
      'whose runner has no totals',
      'echo checked && exit 4',
      'npm test ended with exit code 4: checked',
    ],
  ])('a project %s', async (_, script, reason) => {
    const verdict = await check('npm-test', await project({ 'package.json': packageJson(script) }))
    expect(verdict).toMatchObject({ verdict: 'not_achieved', reason })
  })

  test.each([
    ['without a script', packageJson()],
    ['with an empty script', packageJson(' ')],
    ['with the script of npm init', packageJson('echo "Error: no test specified" && exit 1')],
    ['that is no JSON', '{'],
  ])('a package.json %s gives a verdict with the reason', async (_what, text) => {
    const verdict = await check('npm-test', await project({ 'package.json': text }))
    expect(verdict.verdict).toBe('cannot_check')
    expect(verdict.reason).toMatch(/^There is no test script: package.json must be valid JSON with/)
  })
})

describe.skipIf(isMissing('make'))('make-test on real projects', () => {
  const make = async (makefile: string, files: Files = {}) =>
    check('make-test', await project({ Makefile: makefile, ...files }))

  const RECIPES: Readonly<Record<string, readonly [recipe: string, RegExp, Files?]>> = {
    passes: ['@echo all is well', /^make test passed: all is well$/],
    fails: ['@echo "sums are off" && exit 3', /exit code 2: sums are off$/],
    'crashes, which names the signal': [
      '@echo begun; kill -SEGV $$$$',
      /exit code 2: make: .*Segmentation fault/,
    ],
    'does not compile, which names the first error': [
      '@echo "a.c:3:1: error: no"; echo more; echo; exit 1',
      /^make test ended with exit code 2: a\.c:3:1: error: no$/,
    ],
    'calls a runner with totals, which count': [
      "-@echo 'FAILED t.py::test_a'; echo '1 failed, 2 passed in 0.1s'",
      /1 of 3 tests failing: t\.py::test_a/,
    ],
    'is also a file': ['@echo never', /^make test ran nothing/, { test: '' }],
  }

  test.each(Object.entries(RECIPES))('%s', async (how, [recipe, reason, files = {}]) => {
    const verdict = how === 'passes' ? 'achieved' : 'not_achieved'
    const found = await make(`test:\n\t${recipe}\n`, files)
    expect(found).toMatchObject({ verdict, reason: expect.stringMatching(reason) })
  })

  test('without a rule for test, the goal cannot be checked', async () => {
    const reason = expect.stringContaining("No rule to make target 'test'")
    expect(await make('build:\n\ttrue\n')).toMatchObject({ verdict: 'cannot_check', reason })
  })
})
