import { join } from 'node:path'
import type { Goal, GoalContext, GoalVerdict } from './goal.ts'
import { judgeJUnit } from './judge-junit.ts'
import { summarize } from './junit.ts'
import { firstOf, testScript } from './project-files.ts'
import { withReportFolder } from './report-folder.ts'
import { runCheck, SHORT_CHECK_MS } from './run-check.ts'

async function detect(cwd: string): Promise<boolean> {
  if ((await firstOf(cwd, ['package.json'])) === null) return false
  if ((await firstOf(cwd, ['bun.lock', 'bun.lockb'])) !== null) return true
  return /\bbun\b/.test((await testScript(cwd)) ?? '')
}

async function checkIn(context: GoalContext, folder: string): Promise<GoalVerdict> {
  const report = join(folder, 'junit.xml')
  const args = ['test', '--reporter=junit', `--reporter-outfile=${report}`]
  const ran = await runCheck(context, {
    tool: 'bun test',
    programs: [{ file: 'bun', args }],
    missing: 'bun is not installed: install it with `npm install --global bun`',
    timeoutMs: SHORT_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
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
  detect,
  check: (context) => withReportFolder(context.reportsDir, (folder) => checkIn(context, folder)),
}
