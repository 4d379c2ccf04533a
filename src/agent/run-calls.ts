import { err } from 'neverthrow'
import { resultOf } from '../domain/conversation.ts'
import { onlyReads } from '../domain/mcp-tools.ts'
import { modelInUse } from '../domain/model-choice.ts'
import { present } from '../domain/present.ts'
import type { Notice, PayloadOf } from '../domain/records.ts'
import { type OpenCall, type RunState, startedBy } from '../domain/state.ts'
import { subagentCalls } from '../domain/subagent-state.ts'
import { SUBAGENT_TOOL } from '../domain/subagents.ts'
import type { Attempt } from '../live/attempt.ts'
import type { Workspace } from '../workspace/workspace.ts'
import type { BackgroundProcesses } from './background-processes.ts'
import type { Effects } from './effects.ts'
import { Notices } from './observed-commands.ts'
import { projectOf } from './project-folder.ts'
import { notRunMasked, reviewCall } from './requested-calls.ts'
import type { RunSession, StepResult } from './run-session.ts'
import type { Subagents } from './subagents.ts'
import type { CallContext } from './tools/tool.ts'

/** How many calls of one reply run side by side. */
const READS_AT_ONCE = 4

/** What the calls of a run work with. */
type Place = { readonly processes: BackgroundProcesses; readonly files: Workspace }

/** A call under way. Until its turn comes, it keeps what its commands report. */
type Started = {
  readonly result: Promise<PayloadOf<'tool_result'>>
  readonly reported: Notice[]
  /** Resolves when the run of its sub-agent is there, or the call has ended without one. */
  readonly begun: Promise<void>
  onNotice: ((notice: Notice) => void) | null
}

/**
 * Runs the calls of replies and records their results, in the order of the calls. While a call that only reads runs, the
 * calls after it that only read run too. They begin before they are in the log, which does no harm, because they are run
 * again after a crash. Sub-agents run side by side too, because the log names their runs before they begin. Any other
 * call begins when all calls before it are recorded.
 */
export class RunCalls implements AsyncDisposable {
  readonly #session: RunSession
  readonly #toolbox: Effects['toolbox']
  readonly #models: Effects['models']
  readonly #place: Place
  readonly #subagents: Subagents
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #started = new Map<string, Started>()
  /** The attempt of the open call, where observers see its output. */
  #attempt: Attempt | null = null

  constructor(
    session: RunSession,
    { toolbox, models }: Effects,
    place: Place,
    subagents: Subagents,
    signal: AbortSignal,
  ) {
    this.#session = session
    this.#subagents = subagents
    this.#toolbox = toolbox
    this.#models = models
    this.#place = place
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
  }

  async run(call: OpenCall, attempt: Attempt | null): Promise<StepResult> {
    this.#attempt = attempt
    const { state } = this.#session
    const onlyReading = (tool: string): boolean =>
      onlyReads(tool, this.#toolbox.readOnly, state.mcp)
    for (const next of readsFrom(call, state, onlyReading)) {
      if (next.call_id !== call.call_id && !(await this.#isAllowed(next))) break
      if (!this.#started.has(next.call_id)) this.#started.set(next.call_id, this.#start(next))
    }
    await this.#startSubagents()
    const started = this.#started.get(call.call_id) ?? this.#start(call)
    this.#started.delete(call.call_id)
    const session = this.#session
    const notices = new Notices(session)
    for (const notice of started.reported) notices.add(notice)
    started.onNotice = notices.add
    const result = await started.result
    await notices.settled()
    if (this.#signal.aborted) return err({ type: 'cancelled' })
    return session.record({ type: 'record_tool_result', result })
  }

  /**
   * Starts the sub-agents that work at the same time as the open call, one after the other, so that their records have
   * the order of their calls. One that gets no share of the budget waits until the calls before it have ended.
   */
  async #startSubagents(): Promise<void> {
    for (const { call_id } of subagentCalls(this.#session.state)) {
      const next = callIn(this.#session.state, call_id)
      if (next === null || this.#signal.aborted) return
      const isOpen = isOpenCall(this.#session.state, call_id)
      if (!isOpen && startedBy(this.#session.state, call_id) === null) {
        if (!this.#subagents.hasRoom() || !(await this.#isAllowed(next))) return
      }
      if (!this.#started.has(call_id)) this.#started.set(call_id, this.#start(next))
      await this.#started.get(call_id)?.begun
    }
  }

  /** Whether no rule forbids the call or asks a person first. */
  async #isAllowed(call: OpenCall): Promise<boolean> {
    const requested = this.#session.callToRun(call)
    const { files } = this.#place
    const { verdict } = await reviewCall(requested, this.#session, this.#toolbox, files)
    return verdict.action === 'allow'
  }

  #start(call: OpenCall): Started {
    // The instructions of a sub-agent are masked in its log too, so the masked ones are enough.
    const masked = call.tool === SUBAGENT_TOOL ? call : null
    const requested = this.#session.callToRun(call) ?? masked
    const { config, runId, isolation: policy, shellFolder } = this.#session.state
    const { cwd, network = 'none' } = config
    const reported: Notice[] = []
    const { promise: begun, resolve } = Promise.withResolvers<void>()
    const onNotice = (notice: Notice): void => {
      if (started.onNotice === null) reported.push(notice)
      else started.onNotice(notice)
    }
    const onOutput = (text: string): void => {
      this.#attempt?.write({ of: 'output', call_id: call.call_id }, text)
    }
    const context = {
      ...{ cwd, signal: this.#signal, runId, network, onNotice, onOutput },
      processes: this.#place.processes,
      workspace: this.#place.files,
      imageTypes: async () =>
        (await this.#models.imageTypes?.(modelInUse(this.#session.state))) ?? [],
      resultOf: (callId) => resultOf(this.#session.conversation, callId),
      ...present({ policy, shellFolder, excluded: config.tools?.exclude }),
      folder: projectOf(this.#session.state),
      startSubagent: (wanted, place) => this.#subagents.run(call, wanted, place, resolve),
    } satisfies CallContext
    const run = async () =>
      requested === null ? notRunMasked(call) : this.#toolbox.execute(requested, context)
    const result = run().finally(resolve)
    const started: Started = { result, reported, begun, onNotice: null }
    return started
  }

  /** Ends the calls that nobody waits for any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.allSettled([...this.#started.values()].map(({ result }) => result))
  }
}

/** The open or pending call with this id, with its arguments as they are run; null if the run has no such call. */
function callIn({ phase }: RunState, callId: string): OpenCall | null {
  if (phase.type !== 'acting') return null
  if (phase.open?.call_id === callId) return phase.open
  const pending = phase.pending.find(({ call_id }) => call_id === callId)
  return pending === undefined ? null : { ...pending, read_only: false }
}

const isOpenCall = ({ phase }: RunState, callId: string): boolean =>
  phase.type === 'acting' && phase.open?.call_id === callId

/** The open call and those right after it, if all of them only read. */
function readsFrom(
  open: OpenCall,
  { phase }: RunState,
  onlyReading: (tool: string) => boolean,
): readonly OpenCall[] {
  if (!open.read_only || phase.type !== 'acting') return []
  const next = phase.pending.slice(0, READS_AT_ONCE - 1)
  const end = next.findIndex(({ tool }) => !onlyReading(tool))
  const reads = end === -1 ? next : next.slice(0, end)
  const calls = [open, ...reads.map((call) => ({ ...call, read_only: true }))]
  return new Set(calls.map(({ call_id }) => call_id)).size === calls.length ? calls : []
}
