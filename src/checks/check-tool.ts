import type { Report } from '../workspace/protocol.ts'
import {
  achieved,
  cannotCheck,
  type GoalContext,
  type GoalVerdict,
  joined,
  lastLine,
  notAchieved,
  tail,
} from './goal.ts'
import {
  type Exited,
  endedWith,
  failureDetails,
  inBash,
  judgeTests,
  knownFailures,
  readReport,
  runCheck,
  type ToolCheck,
  testsOf,
  tooLong,
} from './run-check.ts'
import { conditionsNotMet, lacksProgram, missingProgram, notFound } from './shell-goal.ts'

/** Checks a goal with a tool, or with the command that a run has in place of it. */
export async function checkWith(context: GoalContext, check: ToolCheck): Promise<GoalVerdict> {
  const { shell_goal: own } = context.config
  const { tool, lacks, missing, minutes, env } = check
  const lacking = own === null ? ((await check.needs?.(context.files)) ?? null) : null
  if (lacking !== null) return cannotCheck(lacking)
  const ran = await runCheck(context, {
    tool,
    timeoutMs: minutes * 60_000,
    ...(own === null
      ? { programs: await check.programs(context.files), missing, ...(lacks && { lacks }) }
      : inBash(own.check_command)),
    env: { ...env, ...(own !== null && check.envOfCommand) },
  })
  if (ran.isErr()) return ran.error
  const ended = ran.value
  if (own === null) return judge(context, check, ended)
  if (lacksProgram(ended)) return cannotCheck(notFound(ended), tail(ended.output))
  if (ended.exitCode !== 0 && lacks?.test(ended.stderr)) return cannotCheck(missing)
  const judged = await judge(context, check, ended)
  // A command of the run must also meet its own conditions.
  const misses = conditionsNotMet(own, ended)
  if (judged.verdict !== 'achieved' || misses.length === 0) return judged
  const reason = `${judged.reason}, but ${misses.join('; ')}`
  return { ...judged, verdict: 'not_achieved', reason }
}

async function judge(context: GoalContext, check: ToolCheck, whole: Exited): Promise<GoalVerdict> {
  const { tool, tests, nothing, cannot, noise, hidden } = check
  const output = hidden === undefined ? whole.output : whole.output.replace(hidden, '')
  const ended = { ...whole, output }
  const { exitCode } = ended
  if (exitCode === 0 && nothing?.[0].test(output)) return notAchieved(nothing[1], tail(output))
  const cut = tests?.areCounted ? tooLong(tool, ended) : null
  if (cut !== null) return cut
  const read = await readReport(context, whole.output)
  if (read.isErr()) {
    const problem = `and its output cannot be read (${read.error})`
    return notAchieved(`${tool} ${endedWith(ended)} ${problem}`, tail(output))
  }
  const report = read.value
  const { counts } = report
  const ranNone = exitCode !== 0 && (counts === null || counts.passed + counts.failed === 0)
  const lacking = ranNone ? lacksNetwork(context, check, ended) : null
  if (lacking !== null) return lacking
  const isJudged = counts !== null || tests?.areCounted || exitCode === tests?.noneExitCode
  const judged =
    tests !== undefined && isJudged
      ? judgeTests(report, { tool, tests, ...(noise && { noise }) }, ended)
      : byExitCode(report, check, ended)
  if (ranNone && cannot?.test(output)) return { ...judged, verdict: 'cannot_check' }
  return { ...judged, ...testsOf(report) }
}

function byExitCode(report: Report, { tool, tests, noise }: ToolCheck, ended: Exited): GoalVerdict {
  const { exitCode, output } = ended
  const last = lastLine(output, noise)
  if (exitCode !== 0) {
    const reason = joined(': ', `${tool} ${endedWith(ended)}`, knownFailures(report) || last)
    return notAchieved(reason, failureDetails(report, output))
  }
  const reason = tests ? joined(': ', `${tool} passed`, last) : `${tool} found nothing`
  return achieved(reason, tail(output, 1024))
}

/** What cargo and go print if they cannot find the host of a registry. */
const NO_HOST = /Could not resolve host|dial tcp: lookup /

/**
 * The verdict if packages are not here, and the commands of the run have no network to get them; null if there is another
 * cause. Only for a check that ran no test, because a test may itself fail to find a host.
 */
function lacksNetwork(
  { config: { network = 'none' } }: GoalContext,
  { tool, withoutNetwork }: ToolCheck,
  ended: Exited,
): GoalVerdict | null {
  if (network !== 'none' || withoutNetwork === undefined) return null
  const program = lacksProgram(ended) ? missingProgram(ended.output) : null
  if (program === null && !NO_HOST.test(ended.output)) return null
  const what = program === null ? 'packages that are not here' : `${program}, which was not found`
  const reason = `${tool} needs ${what}, and the commands of this run have no network: ${withoutNetwork}`
  return cannotCheck(reason, tail(ended.output))
}
