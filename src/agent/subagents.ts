import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { budgetLeft, isLeftFor } from '../domain/budget.ts'
import { FileChanges } from '../domain/file-changes.ts'
import type { RunRequest } from '../domain/requested-goal.ts'
import { type OpenCall, startedBy } from '../domain/state.ts'
import { reportOf } from '../domain/subagent-state.ts'
import type { Subagent } from '../domain/subagents.ts'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import { counted } from '../lib/counted.ts'
import type { Logger } from '../lib/logger.ts'
import { decode } from '../log/codec.ts'
import { handleCommand } from '../log/handle-command.ts'
import { foldLogged, type LoadedRun, load, readRecords, streamOf } from '../log/run-log.ts'
import { isWithin } from '../runner/isolation/sandbox.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import type { Problem } from './model-problems.ts'
import type { PlannedRun } from './plan-run.ts'
import { projectOf } from './project-folder.ts'
import type { RunSession } from './run-session.ts'
import { again, depthOf, refusal, requestOf, toStart } from './subagent-request.ts'
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

type Place = Pick<ToolContext, 'cwd' | 'workspace' | 'signal' | 'onOutput'>
type Planned = Pick<PlannedRun, 'systemPrompt' | 'isolation' | 'project' | 'serverApprovals'>

/**
 * Starts the runs of sub-agents, and waits for them. The log of the parent names the run before it is created, and that
 * log is the only place where the run is looked up. So a process that continues the call after a crash finds the same
 * run.
 */
export class Subagents {
  readonly #session: RunSession
  readonly #deps: SubagentDeps

  constructor(session: RunSession, deps: SubagentDeps) {
    this.#session = session
    this.#deps = deps
  }

  /** Whether the budget has something left for another sub-agent, in addition to those at work. */
  hasRoom(): boolean {
    const { state } = this.#session
    return isLeftFor(budgetLeft(state, this.#deps.now()), toStart(state))
  }

  /**
   * Carries out a call that is open, or that works at the same time as the open one.
   * @param onBegun called when its run is there
   */
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
    const root = (await this.#session.root()) ?? state.config.cwd
    const request = await requestOf(state, wanted, { ...place, root }, this.#deps.now())
    if (request.isErr()) return err(request.error)
    const planned = await this.#plan(request.value, rules)
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
    of: SubagentRules,
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
    const planned = before === null ? await this.#plan(again(config, state), of) : ok(before)
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

  /** Its project is a part of this one at the moment at which it is recorded, whatever leads there later. */
  async #plan(
    request: RunRequest,
    { planRun }: SubagentRules,
  ): Promise<Result<PlannedRun, string>> {
    const planned = await planRun(request).mapErr(textOf)
    const { path } = projectOf(this.#session.state)
    return planned.andThen((plan) => {
      const { project } = plan
      if (isWithin(path, project.path)) return ok(plan)
      return err(`${request.cwd} leads to ${project.path}, which is outside of the project.`)
    })
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

const textOf = (problems: readonly Problem[]): string =>
  problems.map(({ field, message }) => `${field}: ${message}`).join('\n')

const ofLog = ({ type }: { readonly type: string }): string =>
  `The run of the sub-agent could not be created: ${type}.`

const ABORTED: ToolOutput = {
  output: 'The run was aborted while its sub-agent worked.',
  exitCode: null,
  outcome: 'aborted',
}

/** The run of a sub-agent as far as its parent has followed it. */
class FollowedRun {
  /** Null until it has ended. */
  output: ToolOutput | null = null
  readonly #runId: string
  readonly #changes = new FileChanges()
  #run: LoadedRun | null = null
  /** Its last reply, or the summary of its work. */
  #words = ''

  constructor(runId: string) {
    this.#runId = runId
  }

  /** The seq of the last record; -1 before the first. */
  get seq(): number {
    return this.#run?.state.seq ?? -1
  }

  /** @returns what observers of the parent should know */
  add(event: RecordedEvent): string | null {
    const folded = decode(event).andThen((logged) =>
      foldLogged(this.#runId, this.#run, logged).map((run) => ({ run, logged })),
    )
    if (folded.isErr()) {
      this.output = failed(`The run ${this.#runId} of the sub-agent cannot be read any more.`)
      return null
    }
    const { run, logged } = folded.value
    const { record } = logged
    this.#run = run
    this.#changes.add(logged.seq, record)
    if (record.kind === 'assistant_message') this.#words = record.payload.text ?? this.#words
    if (record.kind === 'run_summary') this.#words = record.payload.text
    if (record.kind === 'run_end') this.output = this.#report(run)
    return record.kind === 'human_check_required'
      ? `The sub-agent waits for a person: ${record.payload.summary}`
      : null
  }

  #report({ state, head }: LoadedRun): ToolOutput {
    const { phase, iteration } = state
    if (phase.type !== 'ended') throw new Error('a run that has not ended is reported')
    const { status, reason } = phase
    const subagent = reportOf(state, head)
    const { tokens, cost_usd } = subagent
    const cost = cost_usd === null ? 'an unknown price' : `$${cost_usd.toFixed(4)}`
    const files = this.#changes.files().filter(({ changed }) => changed !== 'no')
    const output = [
      `The sub-agent (run ${this.#runId}) has ended: ${status}. ${reason}`,
      `It used ${tokens} tokens for ${cost} in ${counted(iteration, 'iteration')}.`,
      files.length === 0
        ? 'It wrote no files by name.'
        : `It wrote these files: ${files.map(({ path }) => path).join(', ')}.`,
      ...(this.#words === '' ? [] : [`Its last words:\n${this.#words}`]),
    ].join('\n')
    const isOk = status === 'achieved'
    return { output, exitCode: isOk ? 0 : 1, outcome: isOk ? 'ok' : 'error', subagent }
  }
}
