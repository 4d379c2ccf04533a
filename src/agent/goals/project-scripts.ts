import { join } from 'node:path'
import type { Workspace } from '../../workspace/workspace.ts'
import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { summarize } from './junit.ts'
import { judgePrinted } from './printed-summary.ts'
import { firstOf, testScript, textOf } from './project-files.ts'
import { judgeJUnit, withReportFolder } from './report-folder.ts'
import { BUILD_CHECK_MS, cannotCheck, runCheck, SHORT_CHECK_MS } from './run-check.ts'
import { scriptLacksProgram } from './shell-goal.ts'
import { tail } from './text.ts'

async function checkNpm(context: GoalContext): Promise<GoalVerdict> {
  const { files, config } = context
  const { shell_goal } = config
  if (shell_goal === null && (await testScript(files)) === null) {
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
  detect: async (files) =>
    (await testScript(files)) === null
      ? null
      : { fit: FIT.tests, because: 'package.json has a test script' },
  check: checkNpm,
}

async function detectBun(files: Workspace): Promise<Fit | null> {
  if ((await firstOf(files, ['package.json'])) === null) return null
  const lock = await firstOf(files, ['bun.lock', 'bun.lockb'])
  if (lock !== null) return { fit: FIT.tests, because: `there is a ${lock}` }
  const usesBun = /\bbun\b/.test((await testScript(files)) ?? '')
  return usesBun ? { fit: FIT.language, because: 'the test script uses bun' } : null
}

async function checkBun(context: GoalContext, folder: string): Promise<GoalVerdict> {
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
  detect: detectBun,
  check: (context) => withReportFolder(context.reportsDir, (folder) => checkBun(context, folder)),
}

/** Whether a line begins a rule with the target `test`; `test := x` is a variable. */
export function isTestRule(line: string): boolean {
  const colon = line.indexOf(':')
  const isRule = colon > 0 && /^::?(?!=|:)/.test(line.slice(colon, colon + 3))
  const targets = line.slice(0, Math.max(0, colon)).split(' ').filter(Boolean)
  return isRule && /^\w|^[./-]/.test(line) && targets.includes('test')
}

/** The message of make if it ran nothing, because a file named `test` exists or the rule is empty. */
const NOTHING_DONE = /^make(?:\[\d+\])?: (?:'test' is up to date|Nothing to be done for 'test')\.$/m

/** The message of make if there is no such rule, or no Makefile. */
const NO_RULE = /^make: \*\*\* No rule to make target 'test'\./m

async function detectMakefile(files: Workspace): Promise<Fit | null> {
  for (const name of ['GNUmakefile', 'makefile', 'Makefile']) {
    const makefile = await textOf(files, name)
    if (makefile === null) continue
    const hasRule = makefile.split('\n').some(isTestRule)
    return hasRule ? { fit: FIT.tests, because: `the ${name} has a rule "test"` } : null
  }
  return null
}

async function checkMake(context: GoalContext): Promise<GoalVerdict> {
  const ran = await runCheck(context, {
    tool: 'make test',
    programs: [{ file: 'make', args: ['test'] }],
    missing: 'make is not installed: install it with the package manager of the system',
    timeoutMs: BUILD_CHECK_MS,
    env: { LC_ALL: 'C.UTF-8' },
  })
  if (ran.isErr()) return ran.error
  const { output, exitCode } = ran.value
  if (exitCode === 0 && NOTHING_DONE.test(output)) {
    const reason = 'make test ran nothing: give the rule "test" a recipe and declare it .PHONY'
    return { verdict: 'not_achieved', reason, details: tail(output) }
  }
  const judged = judgePrinted({
    tool: 'make test',
    unit: 'test file',
    noTests: 'the rule "test" of the Makefile found none',
    // Only make says that a program crashed.
    noise:
      /^make(?:\[\d+\])?: (?!.*(?:No rule|Segmentation fault|Bus error|Illegal inst|Floating))/,
    ended: ran.value,
  })
  return NO_RULE.test(output) ? { ...judged, verdict: 'cannot_check' } : judged
}

export const makeTest: Goal = {
  name: 'make-test',
  description: 'The rule "test" of the Makefile passes',
  prompt:
    'Make `make test` pass in the project folder. It passes when make ends with exit code 0 after ' +
    'running the rule "test" and, if a test runner prints totals, at least one test passed and ' +
    'none failed.',
  takes: { check: 'optional' },
  detect: detectMakefile,
  check: checkMake,
}
