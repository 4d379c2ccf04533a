import { err } from 'neverthrow'
import { resultOf } from '../../domain/conversation.ts'
import { modelInUse } from '../../domain/model-choice.ts'
import { present } from '../../domain/present.ts'
import type { PayloadOf, RequestedCall } from '../../domain/records.ts'
import { SUBAGENT_TOOL } from '../../domain/related-runs.ts'
import { type OpenCall, startedBy } from '../../domain/state.ts'
import { subagentCalls } from '../../domain/subagent-state.ts'
import { masksIn } from '../../domain/texts.ts'
import type { Attempt } from '../../live/live-parts.ts'
import { processMask } from '../../masking/process-mask.ts'
import { projectOf } from '../../sandbox/project-folder.ts'
import type { Subagents } from '../subagents/subagents.ts'
import type { CallContext } from '../tools/tool.ts'
import type { Work } from './effects.ts'
import { Notices } from './notices.ts'
import { reviewCall } from './review.ts'
import type { StepResult } from './session.ts'

/** A call under way. */
type Started = {
  readonly result: Promise<PayloadOf<'tool_result'>>
  /** Resolves when the run of its sub-agent is there, or the call has ended without one. */
  readonly begun: Promise<void>
}

/**
 * Runs the calls of replies and records their results, in the order of the calls. Sub-agents that a reply starts one after
 * the other work side by side, because the log names their runs before they begin. Any other call begins when all calls
 * before it are recorded.
 */
export class RunCalls implements AsyncDisposable {
  readonly requested = new RequestedCalls()
  readonly #work: Work
  readonly #subagents: Subagents
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #started = new Map<string, Started>()
  /** The attempt of the open call, where observers see its output. */
  #attempt: Attempt | null = null

  constructor(work: Work, subagents: Subagents) {
    this.#work = work
    this.#subagents = subagents
    this.#signal = AbortSignal.any([work.signal, this.#stop.signal])
  }

  async run(call: OpenCall, attempt: Attempt): Promise<StepResult> {
    this.#attempt = attempt
    await this.#startSubagents()
    const result = await this.#startOnce(call).result
    this.#started.delete(call.call_id)
    if (this.#signal.aborted) return err({ type: 'cancelled' })
    const { session, snapshots } = this.#work
    const { phase } = session.state
    const isLast = phase.type === 'acting' && phase.pending.length === 0
    const snapshot = isLast ? await snapshots.take() : null
    return session.record({ type: 'record', made: { tool_result: result, snapshot } })
  }

  /**
   * Starts the sub-agents that work at the same time as the open call, one after the other, so that their records have
   * the order of their calls. One that gets no share of the budget waits until the calls before it have ended.
   */
  async #startSubagents(): Promise<void> {
    const { session } = this.#work
    for (const [at, call] of subagentCalls(session.state).entries()) {
      if (this.#signal.aborted) return
      const next = { ...call, read_only: false }
      if (at > 0 && startedBy(session.state, call.call_id) === null) {
        if (!this.#subagents.hasRoom()) return
        // No rule may forbid it or ask a person first.
        const { verdict } = await reviewCall(this.requested.callToRun(next), this.#work)
        if (verdict.action !== 'allow') return
      }
      await this.#startOnce(next).begun
    }
  }

  #startOnce(call: OpenCall): Started {
    const started = this.#started.get(call.call_id) ?? this.#start(call)
    this.#started.set(call.call_id, started)
    return started
  }

  #start(call: OpenCall): Started {
    const { session, effects, files, processes, servers } = this.#work
    // The instructions of a sub-agent are masked in its log too, so the masked ones are enough.
    const masked = call.tool === SUBAGENT_TOOL ? call : null
    const requested = this.requested.callToRun(call) ?? masked
    const { config, runId, isolation: policy, shellFolder = '.' } = session.state
    const { cwd, network = 'none' } = config
    const notices = new Notices(session)
    const { promise: begun, resolve } = Promise.withResolvers<void>()
    const context: CallContext = {
      cwd,
      signal: this.#signal,
      runId,
      network,
      processes,
      workspace: files,
      shellFolder,
      ...present({ policy, excluded: config.tools?.exclude }),
      folder: projectOf(session.state),
      findTool: servers.tool,
      openOutput: (sha256) => effects.openOutput(runId, sha256),
      onNotice: notices.add,
      onOutput: (text) => this.#attempt?.write({ of: 'output', call_id: call.call_id }, text),
      imageTypes: async () => (await effects.models.imageTypes?.(modelInUse(session.state))) ?? [],
      resultOf: (callId) => resultOf(session.conversation, callId),
      startSubagent: (wanted) => this.#subagents.run(call, wanted, context, resolve),
    }
    const run = async () => {
      const result =
        requested === null ? notRunMasked(call) : await effects.toolbox.execute(requested, context)
      await notices.settled()
      return result
    }
    return { result: run().finally(resolve), begun }
  }

  /** Ends the calls that nobody waits for any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.allSettled([...this.#started.values()].map(({ result }) => result))
  }
}

/**
 * The calls of the last reply as the model wrote them. The log holds them with secrets masked, but they must run
 * unmasked. They are kept only in memory, so a process that takes a run over does not have them.
 */
export class RequestedCalls {
  #byId: ReadonlyMap<string, RequestedCall> = new Map()

  /** Keeps the calls of a reply that is about to be recorded. */
  keep(calls: readonly RequestedCall[]): void {
    const byId = new Map(calls.map((call) => [processMask.text(call.call_id.toWellFormed()), call]))
    // If two ids become the same when they are masked, they do not identify a call.
    this.#byId = byId.size === calls.length ? byId : new Map()
  }

  /** A recorded call with the arguments of the model; null if only the masked ones are known. */
  callToRun<C extends RequestedCall>(call: C): C | null {
    const requested = this.#byId.get(call.call_id)
    if (requested === undefined) return masksIn(JSON.stringify(call)).length > 0 ? null : call
    const { call_id: _, tool: __, ...given } = requested
    return { ...call, ...given }
  }
}

const NOT_RUN =
  'This call was not run: its arguments contained a secret, which the log holds only in masked form, and ' +
  'the server restarted, or a person was asked, before the call. Repeat the call if it is still needed.'

/** The result of a call whose arguments are known only with masks. */
function notRunMasked({ call_id, tool }: OpenCall): PayloadOf<'tool_result'> {
  const bytes = Buffer.byteLength(NOT_RUN)
  return {
    call_id,
    tool,
    output: NOT_RUN,
    exit_code: null,
    outcome: 'rejected',
    duration_ms: 0,
    bytes,
    truncated: false,
    sha256: null,
  }
}
