import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { EFFORTS, type Effort } from '../../api/records.ts'
import type { RunRequest } from '../../client/index.ts'
import { LEVELS, type Level } from '../../domain/isolation.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT, OUTCOME_EXIT_CODES } from '../terminal/exit-codes.ts'
import {
  given,
  JSON_EVENTS,
  mcpServers,
  names,
  network,
  number,
  positiveInt,
  rulesFrom,
  wordsOf,
} from '../terminal/option-values.ts'
import { print, printJson, say } from '../terminal/print.ts'
import { follow } from './follow.ts'
import { chosenGoal, type GoalChoice, goalOptions, repeated } from './goals.ts'

type Options = ServerOptions &
  GoalChoice & {
    readonly message?: string
    readonly file?: string
    readonly model?: string
    readonly maxIterations?: number
    readonly maxTurns?: number
    readonly hitl?: boolean
    readonly maxCostUsd?: number
    readonly maxTokens?: number
    readonly maxSeconds?: number
    readonly isolation?: Level
    readonly effort?: Effort
    readonly maxOutputTokens?: number
    readonly fallback?: readonly string[]
    readonly network?: RunRequest['network']
    readonly mcp?: readonly string[]
    readonly mcpJson?: RunRequest['mcp_servers']
    readonly commandMemory?: number
    readonly commandProcesses?: number
    readonly commandOutput?: number
    readonly runHome?: number
    readonly withoutTool?: readonly string[]
    readonly approvals?: string
    readonly reason?: string
    readonly detach?: boolean
    readonly json?: boolean
  }

/** `retrai run [GOAL…]`: starts a run and watches it to its end. */
export function runCommand(): Command {
  const command = serverCommand('run', OUTCOME_EXIT_CODES)
    .description('Start a run and watch it until it ends. Ctrl+C stops watching, not the run.')
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
    .option('--max-output-tokens <n>', 'the most tokens of one reply', positiveInt)
    .option(
      '--fallback <models>',
      'if the model fails, continue with these, with commas between them',
      names,
    )
    .option('--max-iterations <n>', 'the most iterations', number)
    .option('--max-turns <n>', 'the most replies of the model in one iteration', number)
    .option('--hitl', 'wait for a person after every iteration that did not reach the goal')
    .option(
      '--max-cost-usd <dollars>',
      'the most that it may cost: no request is sent whose highest price (nothing cached, the longest reply) would pass it',
      number,
    )
    .option('--max-tokens <n>', 'the most tokens it may use', number)
    .option('--max-seconds <n>', 'the longest that it may work', number)
  commandOptions(command)
    .option(
      '--approvals <file>',
      'a JSON file with rules for calls: which are allowed, ask a person, or are denied',
    )
    .option('--reason <text>', 'why you start it; kept in the log')
    .option('--detach', 'only start it, and print its id')
    .option(...JSON_EVENTS)
  return goalOptions(command).action((names: readonly string[], options: Options) =>
    whenConnected(options, async (connection) => {
      const words = await wordsOf({ text: options.message, file: options.file })
      if (words.isErr()) return err(words.error)
      const goal = await chosenGoal(connection, names, options)
      if (goal.isErr()) return err(goal.error)
      const approvals = await rulesFrom(options.approvals)
      if (approvals.isErr()) return err(approvals.error)
      const rules = approvals.value === undefined ? {} : { approvals: approvals.value }
      const asked = { ...goal.value, ...requestOf(options), ...rules }
      const request = { ...asked, instructions: words.value }
      return run(connection, request, options)
    }),
  )
}

/** What the commands of a run may do and use. */
const commandOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        '--isolation <level>',
        'isolate its commands at this level or a stricter one; it may not be less strict than the level of the server',
      ).choices(LEVELS),
    )
    .option(
      '--network <what>',
      'what its commands may reach: none, full, or hosts and presets with commas between them, such as pypi.org,*.example.org,preset:goal',
      network,
    )
    .option(
      '--mcp <servers>',
      'MCP servers that the server offers, with commas between their names',
      names,
    )
    .option(
      '--mcp-json <servers>',
      'further MCP servers, for this run only, as JSON: [{"name": …, "command": …, "args": […]}]',
      mcpServers,
    )
    .option(
      '--without-tool <name>',
      'a tool that the model is not offered, such as git_log; may be repeated',
      repeated,
    )
    .option(
      '--command-memory <MiB>',
      'the most memory of a command, if less than that of the server',
      positiveInt,
    )
    .option('--command-processes <n>', 'the most processes of a command', positiveInt)
    .option('--command-output <MiB>', 'the most that a command prints', positiveInt)
    .option('--run-home <MiB>', 'the most that its commands keep in their home', positiveInt)

function requestOf(options: Options): RunRequest {
  const servers = [...(options.mcp ?? []), ...(options.mcpJson ?? [])]
  const limits = limitsOf(options)
  const { isolation, network, reason, withoutTool: exclude } = options
  return {
    cwd: resolve(options.cwd),
    ...given({
      model_name: options.model,
      reasoning_effort: options.effort,
      max_output_tokens: options.maxOutputTokens,
      fallback_models: options.fallback,
      max_iterations: options.maxIterations,
      max_turns_per_iteration: options.maxTurns,
      hitl_enabled: options.hitl,
      max_cost_usd: options.maxCostUsd,
      max_tokens: options.maxTokens,
      max_seconds: options.maxSeconds,
      ...{ isolation, network, reason },
    }),
    ...(servers.length === 0 ? {} : { mcp_servers: servers }),
    ...(exclude === undefined ? {} : { tools: { exclude } }),
    ...(Object.keys(limits).length === 0 ? {} : { command_limits: limits }),
  }
}

/** Mebibytes in bytes. */
const bytes = (mib: number | undefined) => (mib === undefined ? mib : mib * 1024 * 1024)

const limitsOf = ({ commandMemory, commandProcesses, commandOutput, runHome }: Options) =>
  given({
    memory_bytes: bytes(commandMemory),
    processes: commandProcesses,
    output_bytes: bytes(commandOutput),
    home_bytes: bytes(runHome),
  })

async function run(
  connection: Connection,
  request: RunRequest,
  { detach = false, json = false, hitl = false }: Options,
): Promise<Result<number, string>> {
  const created = await connection.client.runs.create(request)
  if (created.isErr()) return err(connection.explain(created.error))
  const { run_id, warnings = [] } = created.value
  for (const warning of warnings) say(warning)
  if (!detach) return follow(connection, run_id, { json, after: -1, ask: hitl && !json })
  await (json ? printJson(created.value) : print(run_id))
  say(`The run has started. To watch it: ${connection.hint('watch', run_id)}`)
  return ok(EXIT.done)
}
