import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Goal, RunRequest } from '../../client/index.ts'
import { jsonOr } from '../../lib/json-or.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { given, number } from '../terminal/option-values.ts'
import type { Line } from '../terminal/plain-text.ts'
import { print, printJson, say, table } from '../terminal/print.ts'

/** The options of `retrai run` that say what must hold at its end. */
export type GoalChoice = {
  readonly cwd: string
  readonly check?: string
  readonly checkExitCode?: number
  readonly checkOutput?: string
  readonly checkSeconds?: number
  readonly also?: readonly string[]
  readonly option?: readonly GoalSetting[]
}

/** A setting of a goal: `max_ms=200`, or `perf-check.max_ms=200` if there are several goals. */
type GoalSetting = { readonly goal: string | null; readonly name: string; readonly value: unknown }

export const goalOptions = (command: Command): Command =>
  command
    .option(
      '--check <command>',
      'a command that must succeed, or that replaces the command of the goal',
    )
    .option('--check-exit-code <n>', 'the exit code that it must have (default 0)', number)
    .option('--check-output <text>', 'a text that must be in its standard output')
    .option('--check-seconds <n>', 'the longest that it may take', number)
    .option('--also <command>', 'a command that must succeed too; may be repeated', repeated)
    .option(
      '--option <name=value>',
      'a setting of the goal, such as max_ms=200; with several goals perf-check.max_ms=200; may be repeated',
      setting,
    )

/** An option that may be given several times. */
export const repeated = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text,
]

/** The value is JSON if it can be read as JSON, and a text if not. */
function setting(text: string, before: readonly GoalSetting[] = []): readonly GoalSetting[] {
  const [, goal = null, name, value] = /^(?:([\w-]+)\.)?(\w+)=(.+)$/s.exec(text) ?? []
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError('Give a name and a value, such as max_ms=200.')
  }
  return [...before, { goal, name, value: jsonOr(value, value) }]
}

/** What a person does about a project that no goal fits. */
const noGoalFits = (cwd: string): string =>
  `No goal seems to fit ${cwd}. Name one ("retrai goals" lists all), or a command that must succeed: retrai run --check 'make test'`

type Chosen = Pick<RunRequest, 'goal' | 'check' | 'goal_options' | 'all_of'>
type Part = Pick<Chosen, 'goal' | 'check' | 'goal_options'>

/** What a run must reach: the goals that a person names, or the first that fits the project. The server checks them. */
export async function chosenGoal(
  connection: Connection,
  names: readonly string[],
  choice: GoalChoice,
): Promise<Result<Chosen, string>> {
  const { check, also = [], option = [] } = choice
  const [first, ...others] = names
  const own = checkOf(choice)
  if (own.isErr()) return err(own.error)
  if (others.length === 0 && also.length === 0) {
    const misplaced = option.find(({ goal }) => goal !== null && goal !== first)
    if (misplaced !== undefined) return err(notNamed(misplaced))
    if (first === undefined && check === undefined) return firstThatFits(connection, choice)
    return ok({ ...partOf(first ?? null, option), ...own.value })
  }
  if (check !== undefined && names.length > 0) {
    return err('With several goals, give further commands with --also, and not with --check.')
  }
  const misplaced = option.find(({ goal }) => goal === null || !names.includes(goal))
  if (misplaced !== undefined) return err(notNamed(misplaced))
  const commands = [...(check === undefined ? [] : [own.value]), ...also.map(succeeds)]
  return ok({ all_of: [...names.map((name) => partOf(name, option)), ...commands] })
}

const notNamed = ({ goal, name }: GoalSetting): string =>
  goal === null
    ? `With several goals, say which one takes ${name}, such as --option perf-check.${name}=…`
    : `The option ${goal}.${name} is for the goal ${goal}, which the run does not have.`

const succeeds = (command: string) => ({ check: { command } })

function partOf(name: string | null, settings: readonly GoalSetting[]): Part {
  const own = settings.filter(({ goal }) => goal === null || goal === name)
  // The server checks the settings, and names each that is wrong.
  const options = Object.fromEntries(
    own.map((one) => [one.name, one.value]),
  ) as Chosen['goal_options']
  return {
    ...(name === null ? {} : { goal: name }),
    ...(own.length === 0 || options === undefined ? {} : { goal_options: options }),
  }
}

function checkOf({
  check,
  checkExitCode,
  checkOutput,
  checkSeconds,
}: GoalChoice): Result<Part, string> {
  const conditions = given({
    exit_code: checkExitCode,
    output_contains: checkOutput,
    max_seconds: checkSeconds,
  })
  const hasConditions = Object.keys(conditions).length > 0
  if (check === undefined) {
    return hasConditions ? err('Give the command of these conditions with --check.') : ok({})
  }
  // A person who names an output or a time still expects that the command succeeds.
  return ok({ check: { command: check, conditions: { exit_code: 0, ...conditions } } })
}

async function firstThatFits(
  { client, explain }: Connection,
  { cwd, option = [] }: GoalChoice,
): Promise<Result<Chosen, string>> {
  const folder = resolve(cwd)
  const goals = await client.goals({ cwd: folder })
  if (goals.isErr()) return err(explain(goals.error))
  const [best] = goals.value
  if (best === undefined) return err(noGoalFits(folder))
  say(`The goal is ${best.name}${best.because === undefined ? '' : `, because ${best.because}`}.`)
  return ok(partOf(best.name, option))
}

function goalTable(goals: readonly Goal[], forProject: boolean): readonly Line[] {
  const rows = goals.map(({ name, description, because = '', ...takes }) => [
    ...[name, description, forProject ? because : settingsOf(takes)],
  ])
  return table(['GOAL', 'WHAT IT MEANS', forProject ? 'WHY IT FITS' : 'SETTINGS'], rows)
}

/** What a goal takes in addition to its name, in the form of the options of `retrai run`; those in brackets may be left out. */
function settingsOf({ check = 'none', options = [] }: Pick<Goal, 'check' | 'options'>): string {
  const settings = options.map(({ name, required }) => (required ? name : `[${name}]`))
  const command = { none: [], optional: ['[--check]'], required: ['--check'] }[check]
  return [...command, ...settings].join(' ')
}

/** `retrai goals`: the goals that a run can have. */
export function goalsCommand(): Command {
  return serverCommand('goals')
    .description('List the goals that a run can have, or those that fit a project, best first.')
    .option('--cwd <folder>', 'the folder of a project, on the machine of the server')
    .option('--json', 'print each goal as JSON, one a line')
    .action(
      ({
        json = false,
        cwd,
        ...options
      }: ServerOptions & { readonly json?: boolean; readonly cwd?: string }) =>
        whenConnected(options, async ({ client, explain }) => {
          const goals = await client.goals(cwd === undefined ? {} : { cwd: resolve(cwd) })
          if (goals.isErr()) return err(explain(goals.error))
          if (json) for (const goal of goals.value) await printJson(goal)
          else if (cwd !== undefined && goals.value.length === 0) say(noGoalFits(resolve(cwd)))
          else for (const line of goalTable(goals.value, cwd !== undefined)) await print(line)
          return ok(EXIT.done)
        }),
    )
}
