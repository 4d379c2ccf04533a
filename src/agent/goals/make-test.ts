import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { judgePrinted } from './printed-summary.ts'
import { textOf } from './project-files.ts'
import { BUILD_CHECK_MS, runCheck } from './run-check.ts'
import { tail } from './text.ts'

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

async function detect(cwd: string): Promise<Fit | null> {
  for (const name of ['GNUmakefile', 'makefile', 'Makefile']) {
    const makefile = await textOf(cwd, name)
    if (makefile === null) continue
    const hasRule = makefile.split('\n').some(isTestRule)
    return hasRule ? { fit: FIT.tests, because: `the ${name} has a rule "test"` } : null
  }
  return null
}

async function check(context: GoalContext): Promise<GoalVerdict> {
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
  detect,
  check,
}
