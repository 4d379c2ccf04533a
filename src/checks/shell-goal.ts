import type { ShellGoal } from '../domain/run-config.ts'
import type { CommandResult } from '../runner/command.ts'
import {
  cannotCheck,
  FIT,
  type Goal,
  type GoalContext,
  type GoalVerdict,
  joined,
  lastLine,
  oneLine,
  SHELL_GOAL,
  tail,
} from './goal.ts'
import { ALL_ECOSYSTEMS } from './protected.ts'
import { contentIn } from './retrai-yml.ts'
import {
  type Exited,
  endedWith,
  failureDetails,
  inBash,
  knownFailures,
  readReport,
  runCheck,
  testsOf,
} from './run-check.ts'

type Condition = {
  /** What is required, for the model and for people. */
  readonly wanted: string
  /** What happened instead; null if it holds. */
  readonly missed: (ended: Exited) => string | null
}

const seconds = ({ durationMs }: CommandResult): string => `${(durationMs / 1000).toFixed(2)} s`

function conditionsOf({ success_condition }: ShellGoal): Condition[] {
  const { exit_code: code, output_contains: text, max_seconds: most } = success_condition
  const conditions: (Condition | false)[] = [
    code !== undefined && {
      wanted: `exit code ${code}`,
      missed: (ended) => (ended.exitCode === code ? null : `it ${endedWith(ended)}`),
    },
    text !== undefined && {
      wanted: `${JSON.stringify(text)} in its standard output`,
      missed: ({ stdout }) => {
        if (stdout.includes(text)) return null
        const last = lastLine(stdout)
        return last === '' ? 'it printed nothing' : `its last line was ${JSON.stringify(last)}`
      },
    },
    most !== undefined && {
      wanted: `less than ${most} s`,
      missed: (ended) => (ended.durationMs < most * 1000 ? null : `it took ${seconds(ended)}`),
    },
  ]
  return conditions.filter((one) => one !== false)
}

const wantedBy = (goal: ShellGoal): string =>
  conditionsOf(goal)
    .map(({ wanted }) => wanted)
    .join(', ')

/** The check of a shell-goal in words: the command and all its conditions. */
export const describeShellGoal = (goal: ShellGoal): string =>
  `\`${goal.check_command}\` with ${wantedBy(goal)}`

/** The exit code of a shell if a program does not exist. Its output names the program. */
const NOT_FOUND = 127

const PROGRAM = /(\S+): (?:command not found|not found|No such file or directory)$/
/** How many characters at the end of the output are searched: the message of the shell is the last. */
export const NOT_FOUND_LIMIT = 64 * 1024
const LINE_LIMIT = 1_000

/** The program that a shell did not find, by the first line that names one; null if no line does. */
export function missingProgram(output: string): string | null {
  const lines = output.slice(-NOT_FOUND_LIMIT).split('\n')
  const found = lines.map((line) => (line.length > LINE_LIMIT ? null : PROGRAM.exec(line)))
  return found.find((match) => match !== null)?.[1] ?? null
}

/** What to do about a program that was not found. */
export const notFound = ({ output }: Exited): string =>
  `${missingProgram(output) ?? 'one of its programs'} was not found: install it, or correct the check_command for a new run`

/** Whether a program of the system is missing. A script of the project may be what the agent has to write. */
export function lacksProgram({ exitCode, output }: Exited): boolean {
  const program = exitCode === NOT_FOUND ? missingProgram(output) : null
  return program !== null && !program.includes('/')
}

/** The conditions that do not hold, each as a part of a sentence. */
export const conditionsNotMet = (goal: ShellGoal, ended: Exited): string[] =>
  conditionsOf(goal).flatMap(({ wanted, missed }) => {
    const found = missed(ended)
    return found === null ? [] : [`${wanted} is required, but ${found}`]
  })

async function judge(context: GoalContext, goal: ShellGoal, ended: Exited): Promise<GoalVerdict> {
  const misses = conditionsNotMet(goal, ended)
  const command = nameOfCommand(goal)
  const printed = (await readReport(context, ended.output)).unwrapOr(null)
  const reported = printed === null ? {} : testsOf(printed)
  if (misses.length === 0) {
    const reason = `${command} succeeded with ${wantedBy(goal)} (it took ${seconds(ended)})`
    return { verdict: 'achieved', reason, details: tail(ended.output, 1024), ...reported }
  }
  const lacking = lacksProgram(ended)
  const known = printed !== null && !lacking && knownFailures(printed)
  const unknown = ended.exitCode === NOT_FOUND && notFound(ended)
  const reason = `${command} failed: ${joined('; ', unknown, ...misses, known)}`
  const verdict = lacking ? 'cannot_check' : 'not_achieved'
  const details = printed === null ? tail(ended.output) : failureDetails(printed, ended.output)
  return { verdict, reason, details, ...reported }
}

const nameOfCommand = ({ check_command }: ShellGoal): string => `\`${oneLine(check_command, 80)}\``

const NO_COMMAND =
  'This run has no check_command: start a new run with a check, or write a .retrai.yml for it'
const LIMIT_MS = 10 * 60_000

/** A command with a time limit gets some time beyond it, so that the verdict can report how long it took. */
function timeLimitMs({ success_condition }: ShellGoal): number {
  const { max_seconds } = success_condition
  return max_seconds === undefined ? LIMIT_MS : Math.ceil(max_seconds * 1000) + 30_000
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { shell_goal } = context.config
  if (shell_goal === null) return cannotCheck(NO_COMMAND)
  const ran = await runCheck(context, {
    tool: nameOfCommand(shell_goal),
    ...inBash(shell_goal.check_command),
    timeoutMs: timeLimitMs(shell_goal),
  })
  return ran.isOk() ? judge(context, shell_goal, ran.value) : ran.error
}

export const shellGoal: Goal = {
  name: SHELL_GOAL,
  description: 'A command succeeds: that of the run, or the check_command of .retrai.yml',
  prompt:
    'Make the check of this project succeed. It runs with bash in the project folder, as it was ' +
    'set when the run began: changing .retrai.yml now has no effect.',
  takesCheck: true,
  protects: ALL_ECOSYSTEMS,
  detect: async (files) => {
    const { check_command } = await contentIn(files)
    return check_command === undefined
      ? null
      : { fit: FIT.declared, because: '.retrai.yml has a check_command' }
  },
  check,
}
