import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { err } from 'neverthrow'
import { EFFORTS, type Effort } from '../../api/records.ts'
import type { RunRequest } from '../../client/index.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { acceptanceFrom } from '../terminal/acceptance-folder.ts'
import { atTerminal } from '../terminal/ask.ts'
import {
  given,
  JSON_EVENTS,
  JSON_LINES,
  type JsonOption,
  type LimitOptions,
  limitOptions,
  limitsIn,
  mcpServers,
  names,
  network,
  number,
  repeated,
  rulesFrom,
  wordsOf,
} from '../terminal/option-values.ts'
import { printList, say } from '../terminal/print.ts'
import { OUTCOME_EXIT_CODES, type Steps } from '../terminal/steps.ts'
import { startRun } from './watch.ts'

type Options = JsonOption &
  LimitOptions & {
    readonly cwd: string
    readonly check?: string
    readonly also?: readonly string[]
    readonly message?: string
    readonly file?: string
    readonly model?: string
    readonly maxIterations?: number
    readonly hitl?: boolean
    readonly effort?: Effort
    readonly fallback?: readonly string[]
    readonly network?: RunRequest['network']
    readonly mcp?: RunRequest['mcp_servers']
    readonly approvals?: string
    readonly tag?: readonly string[]
    readonly reason?: string
    readonly detach?: boolean
    readonly copy?: boolean
    readonly shared?: boolean
    readonly accept?: string
  }

/** `retrai run [GOAL…]`: starts a run and watches it to its end. */
export function runCommand(): Command {
  const described = serverCommand('run', OUTCOME_EXIT_CODES)
    .description(
      'Start a run and watch it until it ends. Ctrl+C stops watching, not the run. At a limit, a run that was started at a terminal waits until you raise it; others end.',
    )
    .argument(
      '[goals...]',
      'the goal, or several that must hold together; "retrai goals" lists them (default: the first that fits the project)',
    )
    .option('-m, --message <text>', 'what the agent should do in addition to reaching the goal')
    .option('-f, --file <path>', 'read these instructions from a file; "-" is the standard input')
    .option('--cwd <folder>', "the project's folder, on the machine of the server", '.')
    .option('--model <name>', 'the model (default the server\'s); "retrai models" lists the models')
    .addOption(
      new Option('--effort <effort>', "how much the model may think (default the model's)").choices(
        EFFORTS,
      ),
    )
    .option(
      '--fallback <models>',
      'if the model fails, continue with these, with commas between them',
      names,
    )
    .option('--max-iterations <n>', 'the most iterations', number)
    .option('--hitl', 'wait for a person after every iteration that did not reach the goal')
  return limitOptions(described)
    .option(
      '--network <what>',
      'what its commands may reach: none, full, or hosts and presets with commas between them, such as pypi.org,*.example.org,preset:goal',
      network,
    )
    .option(
      '--mcp <servers>',
      'MCP servers: those that the server offers, with commas between their names, or a JSON list of names and of servers for this run only: ["docs", {"name": …, "command": …, "args": […]}]',
      mcpServers,
    )
    .option(
      '--approvals <file>',
      'a JSON file with rules for calls: which are allowed, ask a person, or are denied',
    )
    .option('--copy', 'work in a copy of the project; "retrai apply" carries over what was done')
    .option('--shared', 'do not wait for other runs in the same folder')
    .option('--tag <tag>', 'a word by which you find the run; may be repeated', repeated)
    .option('--reason <text>', 'why you start it; kept in the log')
    .option('--detach', 'only start it, and print its id')
    .option(...JSON_EVENTS)
    .option(
      '--check <command>',
      'a command that must succeed, or that replaces the command of the goal',
    )
    .option('--also <command>', 'a command that must succeed too; may be repeated', repeated)
    .option(
      '--accept <folder>',
      'a check that the agent does not see: these files are put into a copy of the project when the goal is reached, and "bash accept.sh" must succeed there',
    )
    .action(connected(run))
}

async function* run(connection: Connection, names: readonly string[], options: Options): Steps {
  const instructions = yield* await wordsOf({ text: options.message, file: options.file })
  const goal = yield* chosenGoal(connection, names, options)
  const approvals = yield* await rulesFrom(options.approvals)
  const accept = yield* await acceptanceFrom(options.accept)
  const request = { ...goal, ...requestOf(options), ...given({ approvals, accept }), instructions }
  return yield* startRun(connection, request, options)
}

function requestOf(options: Options): RunRequest {
  const { network, reason, mcp } = options
  return {
    cwd: resolve(options.cwd),
    ...given({
      model_name: options.model,
      reasoning_effort: options.effort,
      fallback_models: options.fallback,
      max_iterations: options.maxIterations,
      hitl_enabled: options.hitl,
      ...limitsIn(options),
      on_limit: atTerminal() ? ('pause' as const) : undefined,
      ...{ network, reason, mcp_servers: mcp, tags: options.tag },
    }),
    ...(options.copy === true && { workspace: 'copy' }),
    ...(options.shared === true && { shared: true }),
  }
}

/** What a person does about a project that no goal fits. */
const noGoalFits = (cwd: string): string =>
  `No goal seems to fit ${cwd}. Name one ("retrai goals" lists all), or a command that must succeed: retrai run --check 'make test'`

/** What a run must reach: the goals that a person names, or the first that fits the project. The server checks them. */
async function* chosenGoal(
  connection: Connection,
  names: readonly string[],
  { check, also = [], cwd }: Options,
): Steps<Pick<RunRequest, 'goal' | 'check' | 'all_of'>> {
  const [first, ...others] = names
  if (others.length === 0 && also.length === 0) {
    if (first === undefined && check === undefined) return yield* firstThatFits(connection, cwd)
    return {
      ...(first !== undefined && { goal: first }),
      ...(check !== undefined && succeeds(check)),
    }
  }
  if (check !== undefined && names.length > 0) {
    return yield* err(
      'With several goals, give further commands with --also, and not with --check.',
    )
  }
  const commands = check === undefined ? also : [check, ...also]
  return { all_of: [...names.map((goal) => ({ goal })), ...commands.map(succeeds)] }
}

const succeeds = (command: string) => ({ check: { command } })

async function* firstThatFits(
  { client, explain }: Connection,
  cwd: string,
): Steps<{ goal: string }> {
  const folder = resolve(cwd)
  const [best] = yield* client.goals({ cwd: folder }).mapErr(explain)
  if (best === undefined) return yield* err(noGoalFits(folder))
  say(`The goal is ${best.name}${best.because === undefined ? '' : `, because ${best.because}`}.`)
  return { goal: best.name }
}

/** `retrai goals`: the goals that a run can have. */
export const goalsCommand = (): Command =>
  serverCommand('goals')
    .description('List the goals that a run can have, or those that fit a project, best first.')
    .option('--cwd <folder>', 'the folder of a project, on the machine of the server')
    .option(...JSON_LINES)
    .action(connected(listGoals))

async function* listGoals(
  { client, explain }: Connection,
  { json = false, cwd }: JsonOption & { readonly cwd?: string },
): Steps {
  const folder = cwd === undefined ? undefined : resolve(cwd)
  const goals = yield* client.goals(folder === undefined ? {} : { cwd: folder }).mapErr(explain)
  if (!json && folder !== undefined && goals.length === 0) return say(noGoalFits(folder))
  const third = folder === undefined ? 'SETTINGS' : 'WHY IT FITS'
  await printList(json, ['GOAL', third, 'WHAT IT MEANS'], goals, (goal) => {
    const settings = goal.check === 'optional' ? '[--check]' : ''
    return [goal.name, folder === undefined ? settings : (goal.because ?? ''), goal.description]
  })
}
