import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findGoal } from '../../../src/agent/goals/catalogue.ts'
import { parseCoverage } from '../../../src/agent/goals/coverage-report.ts'
import type { GoalOptions } from '../../../src/domain/run-config.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { workspaceOf } from '../../workspace/support.ts'
import { configOf, type Files, project } from './support.ts'

const lines = (total: number, covered: number) => ({
  lines: { total, covered, skipped: 0, pct: 0 },
})
const SUMMARY = JSON.stringify({
  total: lines(10, 8),
  '/project/src/well.ts': lines(5, 5),
  '/project/src/badly.ts': lines(5, 3),
})

describe('a report is read by its content', () => {
  const FILES = [
    { name: 'badly', percent: 60 },
    { name: 'well', percent: 100 },
  ]
  const lcov = (name: string, found: number, hit: number) =>
    `SF:${name}\nLF:${found}\nLH:${hit}\nend_of_record\n`
  test.each([
    ['coverage-summary.json', SUMMARY.replaceAll(/\/project\/src\/(\w+)\.ts/g, '$1'), FILES],
    ['lcov', `TN:\n${lcov('well', 5, 5)}${lcov('badly', 5, 3)}`, FILES],
    [
      'lcov with nothing but lines',
      `SF:well\n${'DA:1,2\n'.repeat(5)}end_of_record\nSF:badly\n${'DA:1,1,sum\n'.repeat(3)}${'DA:2,0\n'.repeat(2)}`,
      FILES,
    ],
    [
      'coverage.py as JSON',
      JSON.stringify({
        meta: { version: '7.6' },
        totals: { percent_covered: 80 },
        files: {
          well: { summary: { percent_covered: 100 } },
          badly: { summary: { percent_covered: 60 } },
        },
      }),
      FILES,
    ],
    ['coverage.xml', '<?xml version="1.0" ?><coverage line-rate="0.8" version="7"></coverage>', []],
    [
      'a profile of Go, in which a block of two packages is there twice',
      'mode: set\nwell:1.1,9.2 5 1\nbadly:1.1,4.2 3 0\nbadly:1.1,4.2 3 1\nbadly:5.1,9.2 2 0\n',
      FILES,
    ],
    [
      'cargo llvm-cov',
      JSON.stringify({
        data: [
          {
            totals: { lines: { count: 10, covered: 8 } },
            files: [
              { filename: 'well', summary: { lines: { count: 5, covered: 5 } } },
              { filename: 'badly', summary: { lines: { count: 5, covered: 3 } } },
            ],
          },
        ],
      }),
      FILES,
    ],
  ])('%s', (_, text, files) => {
    expect(parseCoverage(text)._unsafeUnwrap()).toEqual({ percent: 80, files })
  })

  test.each([
    JSON.stringify({ total: lines(0, 0) }),
    'SF:empty\nend_of_record\n',
    JSON.stringify({ totals: { percent_covered: 100, num_statements: 0 }, files: {} }),
    '<coverage line-rate="1" lines-valid="0"></coverage>',
    'mode: set\n',
    JSON.stringify({ data: [{ totals: { lines: { count: 0, covered: 0 } } }] }),
  ])('%j counts nothing, which is not enough', (text) => {
    expect(parseCoverage(text)._unsafeUnwrapErr()).toBe('it counts no lines of code')
  })

  test.each(['', 'nothing', '{}', '<a/>', '{"total": 1}', '{'])('%j is not a report', (text) => {
    expect(parseCoverage(text).isErr()).toBe(true)
  })
})

async function coverage(check_command: string, goal_options: GoalOptions, files: Files = {}) {
  const shell_goal = { check_command, success_condition: { exit_code: 0 } }
  const cwd = await project({ 'summary.json': SUMMARY, ...files })
  return findGoal('coverage')?.check({
    config: { ...configOf('coverage', cwd, shell_goal), goal_options },
    signal: new AbortController().signal,
    ...{ runCommand, files: workspaceOf(cwd), reportsDir: cwd },
  })
}

const WRITES = 'mkdir -p coverage && cp summary.json coverage/coverage-summary.json'

test('enough coverage achieves the goal, with the report where the tools write it', async () => {
  const judged = await coverage(WRITES, { min_percent: 80 })
  expect(judged).toMatchObject({ verdict: 'achieved' })
  expect(judged?.reason).toBe(
    'The coverage is 80 %, at least 80 % (coverage/coverage-summary.json)',
  )
})

test('too little coverage does not, and the model reads which files have the least', async () => {
  const judged = await coverage(WRITES, { min_percent: 80.5 })
  expect(judged?.verdict).toBe('not_achieved')
  expect(judged?.reason).toContain('The coverage is 80 %, less than 80.5 %')
  expect(judged?.details).toBe('The least covered files:\n60 % /project/src/badly.ts')
})

test('a report that the check did not write does not count', async () => {
  const old = { 'coverage.json': SUMMARY }
  const judged = await coverage('touch -d 2099-01-01 other', { min_percent: 1 }, old)
  expect(judged?.verdict).toBe('not_achieved')
  expect(judged?.reason).toContain('wrote no report in any of the usual places (coverage/')
  const named = await coverage('true', { min_percent: 1, report: 'out.json' })
  expect(named?.reason).toBe('`true` succeeded, but did not write out.json')
})

test('tests that fail are reported before the coverage', async () => {
  const judged = await coverage(`${WRITES}; echo 'one test failed'; exit 1`, { min_percent: 1 })
  expect(judged?.verdict).toBe('not_achieved')
  expect(judged?.reason).toContain('exit code 0 is required, but it ended with exit code 1')
  expect(judged?.details).toContain('one test failed')
})

test('tests that fail only in a JUnit report are named', async () => {
  const xml = `<testsuites><testsuite><testcase name="adds"/><testcase name="divides"><failure message="no"/></testcase></testsuite></testsuites>`
  const files = { 'new.xml': xml, 'report.xml': xml.replace('divides', 'of before') }
  const judged = await coverage('cp new.xml junit.xml; exit 1', { min_percent: 1 }, files)
  expect(judged?.reason).toMatch(/it ended with exit code 1; failing: divides \(junit\.xml\)$/)
  const silent = await coverage('echo broken >junit.xml; exit 1', { min_percent: 1 }, files)
  expect(silent?.reason).toMatch(/it ended with exit code 1$/)
})

test('a report is read neither outside of the project nor through a link', async () => {
  const outside = join(await project({}), 'report.json')
  await writeFile(outside, SUMMARY)
  const judged = await coverage(`ln -s ${outside} report.json`, {
    ...{ min_percent: 1, report: 'report.json' },
  })
  expect(judged?.verdict).toBe('not_achieved')
  expect(judged?.reason).toContain('The report report.json cannot be read: ')
})

test('if the report cannot be read, that is the verdict', async () => {
  const judged = await coverage('echo what >lcov.info', { min_percent: 1 })
  expect(judged?.reason).toMatch(/^The report lcov\.info cannot be read: it is not a /)
})

test('without the program of the check, the goal cannot be checked', async () => {
  const judged = await coverage('no-such-program-at-all', { min_percent: 1 })
  expect(judged?.verdict).toBe('cannot_check')
})
