import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { budgetLeft, isLeftFor, shareOf } from '../domain/budget.ts'
import type { McpRequest, McpServer } from '../domain/mcp-servers.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { type OpenCall, type RunState, startedBy } from '../domain/state.ts'
import { subagentCalls } from '../domain/subagent-state.ts'
import { INSTRUCTIONS_GOAL, type Subagent } from '../domain/subagents.ts'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { handleCommand } from '../log/handle-command.ts'
import { load, readRecords, streamOf } from '../log/run-log.ts'
import type { EventStore } from '../store/event-store.ts'
import { FollowedRun } from './followed-run.ts'
import type { Problem } from './model-problems.ts'
import type { PlannedRun, RunRequest } from './plan-run.ts'
import type { RunSession } from './run-session.ts'
import { confine } from './tools/confine.ts'
import { describeProblem } from './tools/path-problem.ts'
import { failed, type ToolContext, type ToolOutput } from './tools/tool.ts'
import type { WantedSubagent } from './tools/wanted-subagent.ts'

/** What a server lets its agents start. */
export type SubagentRules = {
  /** How deep runs may be below one that a person started; 0 if there are no sub-agents. */
  readonly maxDepth: number
  /** How many runs one run may start. */
  readonly maxPerRun: number
  readonly planRun: (request: RunRequest) => ResultAsync<PlannedRun, readonly Problem[]>
}

export type SubagentDeps = {
  readonly store: EventStore
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly retryMs: PauseBoundsMs
  readonly log: Pick<Logger, 'warn'>
  /** Null if agents of this server start none. */
  readonly rules: SubagentRules | null
  /** Lets other runs have the turn of this one while it waits: without a turn, the sub-agent would wait for ever. */
  readonly giveTurn: <T>(wait: () => Promise<T>) => Promise<T>
}

type Place = Pick<ToolContext, 'cwd' | 'dataDir' | 'signal' | 'onOutput'>
type Planned = Pick<PlannedRun, 'systemPrompt' | 'isolation' | 'serverApprovals'>

/**
 * Starts the runs of sub-agents, and waits for them. The run is named in the log of its parent before it is created, and
 * only there is it looked up: so a process that continues the call after a crash finds the same run.
 */
export class Subagents {
  readonly #session: RunSession
  readonly #deps: SubagentDeps

  constructor(session: RunSession, deps: SubagentDeps) {
    this.#session = session
    this.#deps = deps
  }

  /** Whether something is left of the budget for another sub-agent beside those at work. */
  hasRoom(): boolean {
    const { state } = this.#session
    return isLeftFor(budgetLeft(state, this.#deps.now()), toStart(state))
  }

  /** Does a call that is open, or works beside the open one. @param onBegun called when its run is there */
  async run(
    call: OpenCall,
    wanted: WantedSubagent,
    place: Place,
    onBegun: () => void,
  ): Promise<ToolOutput> {
    const { rules, giveTurn } = this.#deps
    if (rules === null) return failed('This server runs no sub-agents.')
    let planned: Planned | null = null
    if (startedBy(this.#session.state, call.call_id) === null) {
      const started = await this.#start(call, wanted, place, rules)
      if (started.isErr()) return failed(started.error)
      planned = started.value
    }
    const subagent = startedBy(this.#session.state, call.call_id)
    if (subagent === null || place.signal.aborted) return ABORTED
    const created = await this.#create(subagent, wanted, planned, rules)
    if (created.isErr()) return place.signal.aborted ? ABORTED : failed(created.error)
    place.onOutput(`The sub-agent works in the run ${subagent.run_id}.\n`)
    return giveTurn(() => {
      onBegun()
      return this.#untilEnd(subagent.run_id, place)
    })
  }

  /** Records which run is created next; the error is for the model. */
  async #start(
    { call_id }: OpenCall,
    wanted: WantedSubagent,
    place: Place,
    rules: SubagentRules,
  ): Promise<Result<Planned, string>> {
    const { state } = this.#session
    const refused = refusal(state, rules) ?? this.#session.exhausted()
    if (refused !== null) return err(refused)
    const request = await requestOf(state, wanted, place, this.#deps.now())
    if (request.isErr()) return err(request.error)
    const planned = await rules.planRun(request.value).mapErr(textOf)
    if (planned.isErr()) return err(planned.error)
    const { config } = planned.value
    const start = { call_id, run_id: this.#deps.newId(), config }
    const recorded = await this.#session.record({ type: 'start_subagent', start })
    return recorded.map(() => planned.value).mapErr(({ type }) => `It was not started: ${type}.`)
  }

  /** Creates the run that the log names, if that has not been done before. */
  async #create(
    { run_id: runId, seq }: Subagent,
    { instructions }: WantedSubagent,
    before: Planned | null,
    { planRun }: SubagentRules,
  ): Promise<Result<void, string>> {
    const { now, newId } = this.#deps
    const { store, state } = this.#session
    const known = before === null ? await load(store, runId).mapErr(ofLog) : ok(null)
    if (known.isErr()) return err(known.error)
    if (known.value !== null) return ok()
    const read = await readRecords(store, state.runId, seq, 1).mapErr(ofLog)
    if (read.isErr()) return err(read.error)
    const [started] = read.value
    if (started?.record.kind !== 'subagent_started') throw new Error('the start is not in the log')
    const { config, call_id } = started.record.payload
    const planned =
      before === null ? await planRun(again(config, state)).mapErr(textOf) : ok(before)
    if (planned.isErr()) return err(planned.error)
    const { systemPrompt, ...rules } = planned.value
    const depth = depthOf(state) + 1
    const parent = { run_id: state.runId, call_id, seq, hash: started.meta.hash, depth }
    const task = { systemPrompt, ...rules, config, instructions, parent, pool: state.pool }
    const author = { commandId: newId() }
    const command = { type: 'create', runId, ...task } as const
    const created = await handleCommand(store, runId, command, { author, now })
    if (created.isOk() || created.error.type === 'run_exists') return ok()
    return err(ofLog(created.error))
  }

  /** Follows the run in the log, whichever server works on it. */
  async #untilEnd(runId: string, { signal, onOutput }: Place): Promise<ToolOutput> {
    const { store, retryMs, log } = this.#deps
    const over = new AbortController()
    const followed = new FollowedRun(runId)
    const either = AbortSignal.any([signal, over.signal])
    const follow = async (): Promise<void> => {
      const options = { after: followed.seq, signal: either }
      for await (const item of store.subscribeStream(streamOf(runId), options)) {
        if (item.type !== 'events') continue
        for (const event of item.events) {
          const news = followed.add(event)
          if (news !== null) onOutput(`${news}\n`)
          if (followed.output !== null) over.abort()
        }
      }
    }
    const onFailure = (cause: unknown): void =>
      log.warn({ run_id: runId, err: cause }, 'the run of a sub-agent cannot be followed: retrying')
    await keepRunning(follow, { signal: either, retryMs, onFailure })
    return followed.output ?? ABORTED
  }
}

const ABORTED: ToolOutput = {
  output: 'The run was aborted while its sub-agent worked.',
  exitCode: null,
  outcome: 'aborted',
}

const depthOf = ({ parent }: RunState): number => parent?.depth ?? 0

function refusal(state: RunState, { maxDepth, maxPerRun }: SubagentRules): string | null {
  const depth = depthOf(state)
  if (depth >= maxDepth) {
    const who = depth === 0 ? 'Agents' : `Sub-agents at depth ${depth}`
    return `${who} start no sub-agents on this server. Do the work yourself.`
  }
  const started = state.subagents?.length ?? 0
  if (started < maxPerRun) return null
  return `This run has started ${started} sub-agents, the most on this server. Do the rest yourself.`
}

/** What of the parent holds for its sub-agents too. */
const inherited = ({ config, isolation }: RunState) => ({
  hitl_enabled: config.hitl_enabled,
  ...(config.network === undefined ? {} : { network: config.network }),
  ...(config.approvals === undefined ? {} : { approvals: config.approvals }),
  isolation: isolation?.at_least ?? null,
  command_limits: isolation?.at_most ?? null,
})

/** The replies of one iteration in runs of versions that had no such number. */
const DEFAULT_TURNS = 50

/** The run that an agent asks for, within what is left of the budget of its own. */
async function requestOf(
  state: RunState,
  { folder, goal, check, model, mcp_servers = [], ...wanted }: WantedSubagent,
  place: Place,
  now: number,
): Promise<Result<RunRequest, string>> {
  const { config } = state
  const confined = await confine(place, folder ?? '.')
  if (confined.isErr()) return err(describeProblem(folder ?? '.', confined.error))
  const servers = serversOf(state, mcp_servers)
  if (servers.isErr()) return err(servers.error)
  const left = budgetLeft(state, now)
  const share = shareOf(left, toStart(state))
  const { reasoning_effort, max_output_tokens, fallback_models } = config
  const isSame = model === undefined || model === config.model_name
  return ok({
    ...(check === undefined
      ? { goal: goal ?? INSTRUCTIONS_GOAL }
      : { ...(goal === undefined ? {} : { goal }), check: checkOf(check) }),
    ...(servers.value.length === 0 ? {} : { mcp_servers: servers.value }),
    cwd: folder === undefined ? config.cwd : confined.value.real,
    model_name: model ?? config.model_name,
    max_iterations: wanted.max_iterations ?? config.max_iterations,
    max_turns_per_iteration: config.max_turns_per_iteration ?? DEFAULT_TURNS,
    max_cost_usd: least(wanted.max_cost_usd, left.max_cost_usd, share.max_cost_usd),
    max_tokens: least(wanted.max_tokens, left.max_tokens, share.max_tokens),
    max_seconds: least(wanted.max_seconds, left.max_seconds, share.max_seconds),
    ...(isSame && reasoning_effort !== undefined ? { reasoning_effort } : {}),
    ...(isSame && max_output_tokens !== undefined ? { max_output_tokens } : {}),
    ...(isSame && fallback_models !== undefined ? { fallback_models } : {}),
    ...inherited(state),
  })
}

/** The request for a run that was recorded and not created. */
function again(
  { shell_goal, mcp_servers = [], all_of: _, goal_options: __, ...config }: RunConfig,
  state: RunState,
): RunRequest {
  return {
    ...config,
    ...inherited(state),
    ...(shell_goal === null
      ? {}
      : { check: { command: shell_goal.check_command, conditions: shell_goal.success_condition } }),
    ...(mcp_servers.length === 0 ? {} : { mcp_servers: mcp_servers.map(requestedServer) }),
  }
}

/** How many sub-agents of the reply are still to be started: they share what is left. */
function toStart(state: RunState): number {
  const calls = subagentCalls(state).filter(({ call_id }) => startedBy(state, call_id) === null)
  return Math.max(1, calls.length)
}

/** What the agent asks for, as far as that is left; or its share, so that those beside it get theirs. */
function least(
  wanted: number | undefined,
  left: number | null,
  share: number | null,
): number | null {
  if (wanted === undefined) return share
  return left === null ? wanted : Math.min(wanted, left)
}

const checkOf = ({ command, exit_code = 0 }: NonNullable<WantedSubagent['check']>) => ({
  command,
  conditions: { exit_code },
})

/** The servers of the parent that a sub-agent gets, each started for it alone. */
function serversOf(
  { config: { mcp_servers = [] } }: RunState,
  names: readonly string[],
): Result<readonly McpRequest[], string> {
  const unknown = names.filter((name) => !mcp_servers.some((server) => server.name === name))
  if (unknown.length > 0) {
    const own = mcp_servers.map(({ name }) => name).join(', ') || 'none'
    return err(`You have no MCP server ${unknown.join(', ')} to give. Yours: ${own}.`)
  }
  return ok(mcp_servers.filter(({ name }) => names.includes(name)).map(requestedServer))
}

/** A recorded server as a request names it, no less strict than it is. */
function requestedServer({
  source,
  network: _,
  private_address: __,
  trust_hints: ___,
  ...server
}: McpServer): McpRequest {
  if (source === 'request') return server
  const { name, required, on_change, tools } = server
  return { name, required, on_change, ...(tools === undefined ? {} : { tools }) }
}

const textOf = (problems: readonly Problem[]): string =>
  problems.map(({ field, message }) => `${field}: ${message}`).join('\n')

const ofLog = ({ type }: { readonly type: string }): string =>
  `The run of the sub-agent could not be created: ${type}.`
