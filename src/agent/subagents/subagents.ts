import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { budgetLeft, exhaustedBudget, isLeftFor } from '../../domain/budget.ts'
import type { PlannedRun } from '../../domain/commands.ts'
import { FileChanges } from '../../domain/file-changes.ts'
import type { Kind } from '../../domain/records.ts'
import type { Subagent } from '../../domain/related-runs.ts'
import type { RunRequest } from '../../domain/run-config.ts'
import { type OpenCall, startedBy } from '../../domain/state.ts'
import { reportOf } from '../../domain/subagent-state.ts'
import { keepRunning } from '../../lib/backoff.ts'
import { isWithin } from '../../lib/paths.ts'
import { counted } from '../../lib/text.ts'
import type { LoggedRecord } from '../../log/codec.ts'
import { handleCommand } from '../../log/handle-command.ts'
import { load, readRecords, streamOf } from '../../log/run-log.ts'
import { eventAt } from '../../log/stream-pages.ts'
import { projectOf } from '../../sandbox/project-folder.ts'
import type { EventStore } from '../../store/event-store.ts'
import type { Problem } from '../planning/problems.ts'
import { type LogAccess, type LogAccessUntil, outlasting, type RunSession } from '../run/session.ts'
import { failed, placeOf, type ToolContext, type ToolOutput } from '../tools/tool.ts'
import { again, depthOf, refusal, requestOf, toStart, type WantedSubagent } from './request.ts'

/** What a server lets its agents start. */
export type SubagentRules = {
  /** How deep runs may be below one that a person started; 0 if there are no sub-agents. */
  readonly maxDepth: number
  /** How many runs one run may start. */
  readonly maxPerRun: number
  readonly planRun: (request: RunRequest) => ResultAsync<PlannedRun, readonly Problem[]>
}

type SubagentDeps = LogAccess & {
  readonly store: Pick<EventStore, 'subscribeStream'>
  readonly rules: SubagentRules
  /** Lets other runs have the turn of this one while it waits: without a turn, the sub-agent would wait for ever. */
  readonly giveTurn: <T>(wait: () => Promise<T>) => Promise<T>
}

type OfCall = Pick<ToolContext, 'cwd' | 'workspace' | 'signal' | 'onOutput'>

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
    context: OfCall,
    onBegun: () => void,
  ): Promise<ToolOutput> {
    if (startedBy(this.#session.state, call.call_id) === null) {
      const started = await this.#start(call, wanted, context)
      if (started.isErr()) return failed(started.error)
    }
    const subagent = startedBy(this.#session.state, call.call_id)
    if (subagent === null || context.signal.aborted) return ABORTED
    const created = await this.#create(subagent, wanted)
    if (created.isErr()) return context.signal.aborted ? ABORTED : failed(created.error)
    context.onOutput(`The sub-agent works in the run ${subagent.run_id}.\n`)
    return this.#deps.giveTurn(async () => {
      onBegun()
      const ended = await this.#untilEnd(subagent.run_id, context)
      return ended ? this.#report(subagent.run_id) : ABORTED
    })
  }

  /** Records which run is created next; the error is for the model. */
  async #start(
    { call_id }: OpenCall,
    wanted: WantedSubagent,
    context: OfCall,
  ): Promise<Result<void, string>> {
    const { state, now } = this.#session
    const refused = refusal(state, this.#deps.rules) ?? exhaustedBudget(state, now)?.reason
    if (refused !== undefined) return err(refused)
    const root = (await this.#session.root()) ?? state.config.cwd
    const place = await placeOf(context, wanted.folder ?? '.')
    if (place.isErr()) return err(place.error.output)
    const request = requestOf(state, wanted, { root, real: place.value.real }, now)
    if (request.isErr()) return err(request.error)
    const planned = await this.#plan(request.value)
    if (planned.isErr()) return err(planned.error)
    const { config } = planned.value
    const made = { subagent_started: { call_id, run_id: this.#deps.newId(), config } }
    const recorded = await this.#session.record({ type: 'record', made })
    return recorded.mapErr(({ type }) => `It was not started: ${type}.`)
  }

  /** Creates the run that the log names, if that has not been done before. */
  async #create(
    { run_id: runId, seq }: Subagent,
    { instructions }: WantedSubagent,
  ): Promise<Result<void, string>> {
    const { now, newId } = this.#deps
    const { store, state } = this.#session
    const known = await load(store, runId).mapErr(ofLog)
    if (known.isErr() || known.value !== null) return known.map(() => undefined)
    const read = await readRecords(store, state.runId, seq, 1).mapErr(ofLog)
    if (read.isErr()) return err(read.error)
    const [started] = read.value
    if (started?.record.kind !== 'subagent_started') throw new Error('the start is not in the log')
    const { config, call_id } = started.record.payload
    const planned = await this.#plan(again(config, state))
    if (planned.isErr()) return err(planned.error)
    const depth = depthOf(state) + 1
    const parent = { run_id: state.runId, call_id, seq, hash: started.meta.hash, depth }
    const task = { ...planned.value, config, instructions, parent, pool: state.pool }
    const author = { commandId: newId() }
    const command = { type: 'create', runId, ...task } as const
    const created = await handleCommand(store, command.runId, command, { author, now })
    if (created.isOk() || created.error.type === 'run_exists') return ok()
    return err(ofLog(created.error))
  }

  /** Its project is a part of this one at the moment at which it is recorded, whatever leads there later. */
  async #plan(request: RunRequest): Promise<Result<PlannedRun, string>> {
    const planned = await this.#deps.rules.planRun(request).mapErr(textOf)
    const { path } = projectOf(this.#session.state)
    return planned.andThen((plan) => {
      const leads = plan.project?.path ?? request.cwd
      if (isWithin(path, leads)) return ok(plan)
      return err(`${request.cwd} leads to ${leads}, which is outside of the project.`)
    })
  }

  /** Follows the run in the log, whichever server works on it. False if the call is aborted before the run has ended. */
  async #untilEnd(runId: string, { signal }: OfCall): Promise<boolean> {
    const { store, retryMs, log } = this.#deps
    const ended = new AbortController()
    const either = AbortSignal.any([signal, ended.signal])
    let seen = -1
    const follow = async (): Promise<void> => {
      const options = { after: seen, signal: either }
      for await (const item of store.subscribeStream(streamOf(runId), options)) {
        if (item.type !== 'events') continue
        for (const event of item.events) {
          seen = event.revision
          if (event.type === ('run_end' satisfies Kind)) ended.abort()
        }
      }
    }
    const onFailure = (cause: unknown): void =>
      log.warn({ run_id: runId, err: cause }, 'the run of a sub-agent cannot be followed: retrying')
    await keepRunning(follow, { signal: either, retryMs, onFailure })
    return ended.signal.aborted
  }

  /** What a run that has ended has done, for the model. */
  async #report(runId: string): Promise<ToolOutput> {
    const changes = new FileChanges()
    let words = ''
    const visit = ({ seq, record }: LoggedRecord): void => {
      changes.add(seq, record)
      if (record.kind === 'assistant_message') words = record.payload.text ?? words
      if (record.kind === 'run_summary') words = record.payload.text
    }
    const run = await load(this.#session.store, runId, { visit })
    if (run.isErr() || run.value?.state.phase.type !== 'ended') {
      return failed(`The run ${runId} of the sub-agent cannot be read any more.`)
    }
    const { state, head } = run.value
    const { status, reason } = run.value.state.phase
    const subagent = reportOf(state, head)
    const { tokens, cost_usd } = subagent
    const cost = cost_usd === null ? 'an unknown price' : `$${cost_usd.toFixed(4)}`
    const files = changes.files().filter(({ changed }) => changed !== 'no')
    const output = [
      `The sub-agent (run ${runId}) has ended: ${status}. ${reason}`,
      `It used ${tokens} tokens for ${cost} in ${counted(state.iteration, 'iteration')}.`,
      files.length === 0
        ? 'It wrote no files by name.'
        : `It wrote these files: ${files.map(({ path }) => path).join(', ')}.`,
      ...(words === '' ? [] : [`Its last words:\n${words}`]),
    ].join('\n')
    const isOk = status === 'achieved'
    return { output, exitCode: isOk ? 0 : 1, outcome: isOk ? 'ok' : 'error', subagent }
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

/** What the matter is with a run without which another one makes no sense, as a part of a sentence. */
const GONE = {
  parent: 'whose agent started this one, has ended',
  origin: 'from which this one begins, was removed',
} as const
type Gone = keyof typeof GONE

/** Aborts a run because of its parent or origin, unless it has ended too. Outlasts outages of the store. */
export async function abortWith(as: Gone, other: string, runId: string, deps: LogAccessUntil) {
  const { now, newId, log } = deps
  const options = { author: { commandId: newId() }, now }
  const abort = { type: 'abort', reason: `The run ${other}, ${GONE[as]}` } as const
  const aborted = await handleCommand(outlasting(runId, deps), runId, abort, options)
  const fields = { run_id: runId, [as]: other }
  if (aborted.isOk()) log.info(fields, `run aborted with its ${as}`)
  else if (aborted.error.type !== 'run_ended' && !deps.signal.aborted) {
    log.error({ ...fields, error: aborted.error }, `a run cannot be aborted with its ${as}`)
  }
}

/** The same if the parent has ended, or nothing is left of the origin. @returns whether that is so */
export async function endWith(as: Gone, other: string, runId: string, deps: LogAccessUntil) {
  const last = await eventAt(outlasting(runId, deps), streamOf(other), 'end')
  const type: Kind | undefined = as === 'parent' ? 'run_end' : undefined
  const isGone = last.isOk() && last.value?.type === type
  if (isGone) await abortWith(as, other, runId, deps)
  return isGone
}
