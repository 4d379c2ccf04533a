import type { Goal, GoalContext, GoalVerdict } from './goal.ts'
import { judgePrinted } from './judge-printed.ts'
import { testScript } from './project-files.ts'
import { runCheck, SHORT_CHECK_MS } from './run-check.ts'

async function check(context: GoalContext): Promise<GoalVerdict> {
  if ((await testScript(context.config.cwd)) === null) {
    const reason = 'There is no test script: package.json needs "scripts": {"test": "…"}'
    return { achieved: false, reason, details: '' }
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
    'ends with exit code 0 and, where the test runner prints totals, at least one test passed and ' +
    'none failed.',
  detect: async (cwd) => (await testScript(cwd)) !== null,
  check,
}
