import type { RunConfig, ShellGoal } from '../../domain/run-config.ts'
import type { CommandResult, RunCommand } from '../../runner/command.ts'
import { FIT, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { textOf } from './project-files.ts'
import { keysWithoutEffect, meantKey, SETTINGS_FILE } from './retrai-yml.ts'
import {
  cannotCheck,
  type Exited,
  endedWith,
  inBash,
  isExited,
  NO_BASH,
  runCheck,
  SHORT_CHECK_MS,
} from './run-check.ts'
import { lastLine, oneLine, tail } from './text.ts'
import { failureDetails, knownFailures } from './what-failed.ts'

type Condition = {
  /** What is required, for the model and for people. */
  readonly wanted: string
  readonly isMet: (ended: Exited) => boolean
  /** What happened instead. */
  readonly found: (ended: Exited) => string
}

const seconds = ({ durationMs }: CommandResult): string => `${(durationMs / 1000).toFixed(2)} s`

function conditionsOf({ success_condition }: ShellGoal): Condition[] {
  const { exit_code, output_contains, max_seconds } = success_condition
  const conditions: Condition[] = []
  if (exit_code !== undefined) {
    conditions.push({
      wanted: `exit code ${exit_code}`,
      isMet: ({ exitCode }) => exitCode === exit_code,
      found: ({ exitCode }) => `it ${endedWith(exitCode)}`,
    })
  }
  if (output_contains !== undefined) {
    conditions.push({
      wanted: `${JSON.stringify(output_contains)} in its standard output`,
      isMet: ({ stdout }) => stdout.includes(output_contains),
      found: ({ stdout }) => {
        const last = lastLine(stdout)
        return last === '' ? 'it printed nothing' : `its last line was ${JSON.stringify(last)}`
      },
    })
  }
  if (max_seconds !== undefined) {
    conditions.push({
      wanted: `less than ${max_seconds} s`,
      isMet: ({ durationMs }) => durationMs < max_seconds * 1000,
      found: (ended) => `it took ${seconds(ended)}`,
    })
  }
  return conditions
}

/** The check of a shell-goal in words: the command and all its conditions. */
export function describeShellGoal(goal: ShellGoal): string {
  const wanted = conditionsOf(goal).map((condition) => condition.wanted)
  return `\`${goal.check_command}\` with ${wanted.join(', ')}`
}

/** The exit code of a shell if a program does not exist. Its output names the program. */
const NOT_FOUND = 127

const NOT_FOUND_ENDINGS = [': command not found', ': not found', ': No such file or directory']
/** How many characters at the end of the output are searched: the message of the shell is the last. */
export const NOT_FOUND_LIMIT = 64 * 1024

/** The program that a shell did not find, by the first such line; null if there is no such line. */
export function missingProgram(output: string): string | null {
  for (const line of output.slice(-NOT_FOUND_LIMIT).split('\n')) {
    const ending = NOT_FOUND_ENDINGS.find((words) => line.endsWith(words))
    if (ending === undefined) continue
    const before = line.slice(0, -ending.length)
    const name = before
      .slice(before.lastIndexOf(':') + 1)
      .split(/\s/)
      .at(-1)
    if (name) return name
  }
  return null
}

function notFound({ exitCode, output }: Exited): string[] {
  if (exitCode !== NOT_FOUND) return []
  const what = missingProgram(output) ?? 'one of its programs'
  return [`${what} was not found: install it, or correct the check_command for a new run`]
}

/** Whether a program of the system is missing. A script of the project may be what the agent has to write. */
export function lacksProgram({ exitCode, output }: Exited): boolean {
  const program = exitCode === NOT_FOUND ? missingProgram(output) : null
  return program !== null && !program.includes('/')
}

/**
 * The verdict if a script of package.json names a program that is not there, and the agent reaches no registry to install
 * it from; null otherwise.
 */
export function scriptLacksProgram(
  { network = 'none' }: RunConfig,
  script: string,
  ended: Exited,
): GoalVerdict | null {
  if (network !== 'none' || !lacksProgram(ended)) return null
  const reason = `${script} needs ${missingProgram(ended.output)}, which was not found: install the packages of the project with \`npm install\`, or, if they are in a folder above it, start a run in that folder`
  return cannotCheck(reason, tail(ended.output))
}

/** The conditions that do not hold, each as a part of a sentence. */
export function missesOf(goal: ShellGoal, ended: Exited): string[] {
  return conditionsOf(goal)
    .filter(({ isMet }) => !isMet(ended))
    .map(({ wanted, found }) => `${wanted} is required, but ${found(ended)}`)
}

function judge(goal: ShellGoal, ended: Exited): GoalVerdict {
  const misses = missesOf(goal, ended)
  const command = `\`${oneLine(goal.check_command, 80)}\``
  if (misses.length === 0) {
    const met = conditionsOf(goal)
    const wanted = met.map((condition) => condition.wanted).join(', ')
    const reason = `${command} succeeded with ${wanted} (it took ${seconds(ended)})`
    return { verdict: 'achieved', reason, details: tail(ended.output, 1024) }
  }
  const lacking = lacksProgram(ended)
  const known = lacking ? [] : [knownFailures(ended.output)].filter(Boolean)
  const reason = `${command} failed: ${[...notFound(ended), ...misses, ...known].join('; ')}`
  const verdict = lacking ? 'cannot_check' : 'not_achieved'
  return { verdict, reason, details: failureDetails(ended.output) }
}

/** A command with a time limit gets some time beyond it, so that the verdict can report how long it took. */
function timeLimitMs({ success_condition }: ShellGoal): number {
  const { max_seconds } = success_condition
  return max_seconds === undefined ? SHORT_CHECK_MS : Math.ceil(max_seconds * 1000) + 30_000
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { shell_goal } = context.config
  if (shell_goal === null) {
    const reason =
      'This run has no check_command: start a new run with a check, or write a .retrai.yml for it'
    return cannotCheck(reason)
  }
  const ran = await runCheck(context, {
    tool: `\`${oneLine(shell_goal.check_command, 80)}\``,
    programs: [inBash(shell_goal.check_command)],
    missing: NO_BASH,
    timeoutMs: timeLimitMs(shell_goal),
  })
  return ran.match(
    (ended) => judge(shell_goal, ended),
    (verdict) => verdict,
  )
}

export const shellGoal: Goal = {
  name: 'shell-goal',
  description: 'A command succeeds: that of the run, or the check_command of .retrai.yml',
  prompt:
    'Make the check of this project succeed. It runs with bash in the project folder, as it was ' +
    'set when the run began: changing .retrai.yml now has no effect.',
  takes: { check: 'optional' },
  detect: async (files) => {
    const text = (await textOf(files, SETTINGS_FILE)) ?? ''
    if (/^check_command\s*:/m.test(text)) {
      return { fit: FIT.declared, because: '.retrai.yml has a check_command' }
    }
    // A run with this goal is refused, and the refusal names the key that was meant.
    const key = keysWithoutEffect(text).find((key) => meantKey(key) !== null)
    if (key === undefined) return null
    return { fit: FIT.declared, because: `.retrai.yml has "${key}", which looks misspelled` }
  },
  check,
}

/** The same goal, which also checks the conditions if the run has its own command. */
export const withConditions = (goal: Goal): Goal => ({
  ...goal,
  check: async (context) => {
    const { shell_goal } = context.config
    if (shell_goal === null) return goal.check(context)
    let last: CommandResult | null = null
    const runCommand: RunCommand = async (command) => {
      last = await context.runCommand(command)
      return last
    }
    const judged = await goal.check({ ...context, runCommand })
    return last === null ? judged : judgedWith(shell_goal, judged, last)
  },
})

function judgedWith(goal: ShellGoal, judged: GoalVerdict, last: CommandResult): GoalVerdict {
  if (!isExited(last)) return judged
  if (lacksProgram(last)) return cannotCheck(notFound(last).join(''), judged.details)
  const misses = missesOf(goal, last)
  if (judged.verdict !== 'achieved' || misses.length === 0) return judged
  return {
    ...judged,
    verdict: 'not_achieved',
    reason: `${judged.reason}, but ${misses.join('; ')}`,
  }
}
