import type { ShellGoal } from '../../domain/run-config.ts'
import type { CommandResult } from '../../runner/command.ts'
import type { Goal, GoalContext, GoalVerdict } from './goal.ts'
import { textOf } from './project-files.ts'
import { readShellGoal } from './retrai-yml.ts'
import { cannotCheck, type Exited, endedWith, runCheck, SHORT_CHECK_MS } from './run-check.ts'
import { lastLine, oneLine, tail } from './text.ts'

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
function lacksProgram({ exitCode, output }: Exited): boolean {
  const program = exitCode === NOT_FOUND ? missingProgram(output) : null
  return program !== null && !program.includes('/')
}

function judge(goal: ShellGoal, ended: Exited): GoalVerdict {
  const conditions = conditionsOf(goal)
  const failed = conditions.filter(({ isMet }) => !isMet(ended))
  const command = `\`${oneLine(goal.check_command, 80)}\``
  if (failed.length === 0) {
    const met = conditions.map(({ wanted }) => wanted).join(', ')
    const reason = `${command} succeeded with ${met} (it took ${seconds(ended)})`
    return { verdict: 'achieved', reason, details: tail(ended.output, 1024) }
  }
  const misses = failed.map(({ wanted, found }) => `${wanted} is required, but ${found(ended)}`)
  const reason = `${command} failed: ${[...notFound(ended), ...misses].join('; ')}`
  const verdict = lacksProgram(ended) ? 'cannot_check' : 'not_achieved'
  return { verdict, reason, details: tail(ended.output) }
}

/** A command with a time limit gets some time beyond it, so that the verdict can report how long it took. */
function timeLimitMs({ success_condition }: ShellGoal): number {
  const { max_seconds } = success_condition
  return max_seconds === undefined ? SHORT_CHECK_MS : Math.ceil(max_seconds * 1000) + 30_000
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { shell_goal } = context.config
  if (shell_goal === null) {
    const reason = 'This run has no check_command: write a .retrai.yml and start a new run'
    return cannotCheck(reason)
  }
  const ran = await runCheck(context, {
    tool: `\`${oneLine(shell_goal.check_command, 80)}\``,
    programs: [{ file: 'bash', args: ['-c', shell_goal.check_command] }],
    missing: 'bash is not installed: install it with the package manager of the system',
    timeoutMs: timeLimitMs(shell_goal),
  })
  return ran.match(
    (ended) => judge(shell_goal, ended),
    (verdict) => verdict,
  )
}

export const shellGoal: Goal = {
  name: 'shell-goal',
  description: 'The check_command of .retrai.yml meets its success_condition',
  prompt:
    'Make the check of this project succeed. It runs with bash in the project folder, as it was ' +
    'set when the run began: changing .retrai.yml now has no effect.',
  detect: async (cwd) => /^check_command\s*:/m.test((await textOf(cwd, '.retrai.yml')) ?? ''),
  prepare: readShellGoal,
  check,
}
