import { join } from 'node:path'
import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { summarize } from './junit.ts'
import { judgePrinted } from './printed-summary.ts'
import { firstOf, testScript } from './project-files.ts'
import { judgeJUnit, withReportFolder } from './report-folder.ts'
import { cannotCheck, runCheck, SHORT_CHECK_MS } from './run-check.ts'
import { scriptLacksProgram } from './shell-goal.ts'

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { cwd, shell_goal } = context.config
  if (shell_goal === null && (await testScript(cwd)) === null) {
    const reason = 'There is no test script: package.json needs "scripts": {"test": "…"}'
    return cannotCheck(reason)
  }
  const ran = await runCheck(context, {
    tool: 'npm test',
    programs: [{ file: 'npm', args: ['test'] }],
    missing: 'npm is not installed: install Node.js from https://nodejs.org',
    timeoutMs: SHORT_CHECK_MS,
    // CI keeps test runners from watching for changes.
    env: { CI: 'true' },
  })
  if (ran.isErr()) return ran.error
  const lacking = scriptLacksProgram(context.config, 'npm test', ran.value)
  if (lacking !== null) return lacking
  return judgePrinted({
    tool: 'npm test',
    unit: 'test file',
    noTests: 'the test script of package.json found none',
    noise: /^(?:npm (?:error|ERR!|warn|notice)\b|> |(?:Test Files|Tests|Start at|Duration) )/,
    ended: ran.value,
  })
}

export const npmTest: Goal = {
  name: 'npm-test',
  description: 'The test script of package.json passes',
  prompt:
    'Make `npm test` pass in the project folder. It passes when the test script of package.json ' +
    'ends with exit code 0 and, if the test runner prints totals, at least one test passed and ' +
    'none failed.',
  registries: ['npm'],
  takes: { check: 'optional' },
  detect: async (cwd) =>
    (await testScript(cwd)) === null
      ? null
      : { fit: FIT.tests, because: 'package.json has a test script' },
  check,
}

async function detect(cwd: string): Promise<Fit | null> {
  if ((await firstOf(cwd, ['package.json'])) === null) return null
  const lock = await firstOf(cwd, ['bun.lock', 'bun.lockb'])
  if (lock !== null) return { fit: FIT.tests, because: `there is a ${lock}` }
  const usesBun = /\bbun\b/.test((await testScript(cwd)) ?? '')
  return usesBun ? { fit: FIT.language, because: 'the test script uses bun' } : null
}

async function checkIn(context: GoalContext, folder: string): Promise<GoalVerdict> {
  const report = join(folder, 'junit.xml')
  const args = ['test', '--reporter=junit', `--reporter-outfile=${report}`]
  const ran = await runCheck(context, {
    tool: 'bun test',
    programs: [{ file: 'bun', args }],
    missing: 'bun is not installed: install it with `npm install --global bun`',
    writable: [folder],
    timeoutMs: SHORT_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
  if (context.config.shell_goal !== null) {
    const noTests = 'bun found none'
    return judgePrinted({ tool: 'bun test', unit: 'test file', noTests, ended: ran.value })
  }
  return judgeJUnit(
    report,
    summarize,
    {
      tool: 'bun test',
      unit: 'test file',
      noTests: 'bun looks for files named *.test.ts or *.spec.ts (or .js, .tsx, .jsx)',
      noise: /^(?:Learn more|Ran \d|-+$|bun test v|\d+ (?:pass|fail|skip|todo|error|expect))/,
      ended: ran.value,
    },
    context.signal,
  )
}

export const bunTest: Goal = {
  name: 'bun-test',
  description: 'All tests pass under bun test',
  prompt:
    'Make all tests of this project pass under bun. The check runs `bun test` in the project ' +
    'folder. It passes when at least one test passed, none failed, and bun itself ends with exit code 0.',
  registries: ['npm'],
  takes: { check: 'optional' },
  detect,
  check: (context) => withReportFolder(context.reportsDir, (folder) => checkIn(context, folder)),
}
