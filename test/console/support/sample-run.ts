import type { AgentCommand, PersonCommand } from '../../../src/domain/commands.ts'
import { decide } from '../../../src/domain/decide.ts'
import { evolve } from '../../../src/domain/evolve.ts'
import type { PayloadOf, RunRecord } from '../../../src/domain/records.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import type { RunState } from '../../../src/domain/state.ts'

type Call = { readonly tool: string; readonly args: PayloadOf<'tool_call'>['args'] }

/** One iteration of a sample run. */
export type SampleIteration = {
  readonly text: string
  readonly calls: readonly (Call & { readonly output: string; readonly exitCode?: number })[]
  readonly check: { readonly achieved: boolean; readonly reason: string; readonly details?: string }
  /** The answer of a person after it; without one the run waits. */
  readonly answer?: { readonly decision: 'approve' | 'abort'; readonly reason: string | null }
  /** Who answers. */
  readonly by?: string
}

const READ_ONLY = new Set(['file_read', 'file_list', 'grep_search', 'git_diff'])
const CLAIMANT = 'a-process-of-long-ago'

type Work = Omit<Extract<AgentCommand, { type: 'proceed' }>, 'type'>
const WORK: Work = { claimant: CLAIMANT, readOnlyTools: READ_ONLY }

/** A run as the domain writes it, built iteration by iteration, with a clock of its own. */
export class SampleRun {
  readonly records: RunRecord[] = []
  /** By seq: the person who caused the record; null for none. */
  readonly principals: (string | null)[] = []
  #state: RunState | null = null
  #now: number

  /** @param startedAt seconds since the epoch */
  constructor(runId: string, config: RunConfig, startedAt: number) {
    this.#now = startedAt
    const system_prompt = `You work towards the goal ${config.goal}. Use the tools; say what you do.`
    this.#do({ type: 'create', runId, config, system_prompt }, 0, 'ada')
    this.#do({ ...WORK, type: 'claim', expected: null, pid: 4711, host: 'worker-1' }, 0.02)
  }

  get ended(): boolean {
    return this.#state?.phase.type === 'ended'
  }

  iterate(iteration: SampleIteration): this {
    const input = 1800 + this.records.length * 90
    const output = 60 + Math.ceil(JSON.stringify(iteration.calls).length / 4)
    const usage = {
      input_tokens: input,
      output_tokens: output,
      cost_usd: input * 3e-6 + output * 15e-6,
      model_name: this.#state?.config.model_name ?? '',
      duration_ms: 2000 + output * 9,
      omitted_turns: 0,
    }
    const tool_calls = iteration.calls.map(({ tool, args }, index) => ({
      call_id: `call_${this.records.length}_${index}`,
      tool,
      args,
    }))
    const finish_reason = tool_calls.length > 0 ? 'tool_calls' : 'stop'
    const message = { text: iteration.text, tool_calls, finish_reason }
    this.#do(
      { ...WORK, type: 'record', made: { llm_usage: usage, assistant_message: message } },
      usage.duration_ms / 1000,
    )
    for (const [index, call] of iteration.calls.entries()) {
      const { tool, output, exitCode = 0 } = call
      const duration_ms = 20 + ((output.length * 7) % 2400)
      const result: PayloadOf<'tool_result'> = {
        call_id: tool_calls[index]?.call_id ?? '',
        tool,
        output,
        exit_code: exitCode,
        outcome: exitCode === 0 ? 'ok' : 'error',
        duration_ms,
        bytes: output.length,
        truncated: false,
        sha256: null,
      }
      this.#do({ ...WORK, type: 'record', made: { tool_result: result } }, duration_ms / 1000)
    }
    const { achieved, reason, details = reason } = iteration.check
    const check = { achieved, reason, details, duration_ms: 870 }
    this.#do({ ...WORK, type: 'record', made: { goal_check: check } }, 0.87)
    if (this.#state?.phase.type === 'awaiting_human' && iteration.answer !== undefined) {
      this.#do({ type: 'respond', ...iteration.answer, answers: null }, 42, iteration.by ?? 'ada')
      if (!this.ended) this.#do({ ...WORK, type: 'proceed' }, 0.01)
    }
    return this
  }

  fail(message: string): this {
    this.#do({ ...WORK, type: 'fail', message, traceback: `Error: ${message}\n    at model` }, 1)
    return this
  }

  abort(reason: string): this {
    this.#do({ type: 'abort', reason }, 3, 'ada')
    return this
  }

  #do(
    command: PersonCommand | AgentCommand,
    afterSeconds: number,
    principal: string | null = null,
  ): void {
    this.#now += afterSeconds
    const decided = decide(command, this.#state, this.#now)
    if (decided.isErr()) throw new Error(`${command.type}: ${JSON.stringify(decided.error)}`)
    for (const record of decided.value) {
      this.records.push(record)
      this.principals.push(principal)
      this.#state = evolve(this.#state, record)
    }
  }
}
