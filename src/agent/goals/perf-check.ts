import { randomUUID } from 'node:crypto'
import type { ShellGoal } from '../../domain/run-config.ts'
import type { Goal, GoalContext, GoalVerdict } from './goal.ts'
import { cannotCheck, type Exited, NO_BASH, runCheck, SHORT_CHECK_MS } from './run-check.ts'
import { missesOf } from './shell-goal.ts'
import { oneLine, tail } from './text.ts'

const DEFAULT_RUNS = 5

/**
 * Runs the command and prints how long it took, in seconds, on a last line that begins with the mark. The time is
 * measured in the container, so making the container does not count.
 */
const MEASURE = `exec 3>&2; TIMEFORMAT="$2 %3R"; { time bash -c "$1" 2>&3 3>&-; } 2>&1`

type Measured = { readonly ms: number; readonly ended: Exited }

/** The time of one run; null if it has none, because the command ended the shell that measures. */
function measured(ended: Exited, mark: string): Measured | null {
  const [, before = '', seconds] =
    new RegExp(`^([^]*?)\\n?${mark} (\\d+[.,]\\d+)\\s*$`).exec(ended.stdout) ?? []
  if (seconds === undefined) return null
  const ms = Math.round(Number(seconds.replace(',', '.')) * 1000)
  const output = ended.output.replace(`${mark} ${seconds}`, '')
  return { ms, ended: { ...ended, stdout: before, output } }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  const [low = 0, high = 0] = [sorted[middle - 1], sorted[middle]]
  return sorted.length % 2 === 1 ? high : (low + high) / 2
}

async function measure(context: GoalContext, goal: ShellGoal) {
  const mark = `retrai-${randomUUID()}`
  const command = `\`${oneLine(goal.check_command, 80)}\``
  const ran = await runCheck(
    { ...context, config: { ...context.config, shell_goal: null } },
    {
      tool: command,
      programs: [{ file: 'bash', args: ['-c', MEASURE, 'perf-check', goal.check_command, mark] }],
      missing: NO_BASH,
      timeoutMs: SHORT_CHECK_MS,
      isTimed: true,
    },
  )
  return ran.map((ended) => measured(ended, mark))
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { shell_goal: goal, goal_options: options = {} } = context.config
  const { max_ms, runs = DEFAULT_RUNS } = options
  if (goal === null || max_ms === undefined) {
    return cannotCheck('This run has no command or no max_ms: start a new run with both')
  }
  const times: number[] = []
  for (let run = 1; run <= runs; run += 1) {
    const one = await measure(context, goal)
    if (one.isErr()) return one.error
    if (one.value === null) return cannotCheck('The time of the command could not be measured')
    const { ms, ended } = one.value
    const misses = missesOf(goal, ended)
    if (misses.length > 0) {
      const reason = `Run ${run} of ${runs} failed: ${misses.join('; ')}`
      return { verdict: 'not_achieved', reason, details: tail(ended.output) }
    }
    times.push(ms)
  }
  const middle = median(times)
  const each = `${runs === 1 ? 'measured' : `${runs} runs:`} ${times.join(', ')} ms`
  const reached = middle <= max_ms
  const reason = `The median is ${middle} ms, ${reached ? 'within' : 'more than'} ${max_ms} ms (${each})`
  return { verdict: reached ? 'achieved' : 'not_achieved', reason, details: each }
}

export const perfCheck: Goal = {
  name: 'perf-check',
  description: 'A command is fast enough: the median of several runs is at most max_ms',
  prompt:
    'Make the command of the check fast enough: it runs `runs` times (5 if not set) in the project folder, each run must ' +
    'meet the conditions, and the median of the times must be at most `max_ms` milliseconds. Make the real work faster: no ' +
    'stored results of earlier runs, and no special case for the check.',
  takes: { check: 'required', options: { max_ms: 'required', runs: 'optional' } },
  check,
}
