import type { RunRecord } from '../../src/domain/records.ts'
import type { LoadedRun } from '../../src/log/run-log.ts'
import { type PreparedAppend, prepare } from '../../test/support/append-records.ts'

const START = 1_770_000_000
const AUTHOR = { commandId: 'bench', principal: 'bench' }

const OUTPUT = 'A line that a command has printed, of usual length, in a log.\n'.repeat(10)
const CONFIG = {
  goal: 'pytest',
  cwd: '/project',
  model_name: 'claude-sonnet-4-6',
  max_iterations: 1_000_000,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
  shell_goal: null,
} as const
const USAGE = {
  input_tokens: 12_000,
  output_tokens: 340,
  cost_usd: null,
  model_name: CONFIG.model_name,
  duration_ms: 2100,
  omitted_turns: 0,
} as const

/**
 * The records of a run that never ends: in each iteration one command with an output of 600 bytes. Their keys are in the
 * order in which the server writes them.
 */
function* endlessRun(runId: string): Generator<RunRecord, never> {
  let at = { run_id: runId, iteration: 0, ts: START }
  yield { kind: 'run_created', ...at, payload: { config: CONFIG, system_prompt: 'Mend it.' } }
  yield { kind: 'run_claimed', ...at, payload: { claimant: 'bench', pid: 1, host: 'bench' } }
  for (let iteration = 1; ; iteration += 1) {
    at = { ...at, iteration }
    const call = { call_id: `call-${iteration}`, tool: 'bash_exec', args: { command: 'make' } }
    yield { kind: 'step_start', ...at, payload: { node: 'plan' } }
    yield { kind: 'llm_usage', ...at, payload: USAGE }
    const message = { text: 'Let us see.', tool_calls: [call], finish_reason: 'tool_calls' }
    yield { kind: 'assistant_message', ...at, payload: message }
    yield { kind: 'step_start', ...at, payload: { node: 'act' } }
    yield { kind: 'tool_call', ...at, payload: { ...call, read_only: false } }
    yield toolResult(runId, iteration, OUTPUT)
    yield { kind: 'step_start', ...at, payload: { node: 'evaluate' } }
    const check = { achieved: false, reason: '3 tests failing', details: '', duration_ms: 900 }
    yield { kind: 'goal_check', ...at, payload: check }
    const sum = { iteration, tokens: 12_340, cost_usd: null }
    yield { kind: 'iteration_complete', ...at, payload: sum }
  }
}

function toolResult(runId: string, iteration: number, output: string): RunRecord {
  const { length: bytes } = output
  return {
    kind: 'tool_result',
    run_id: runId,
    iteration,
    ts: START,
    payload: {
      call_id: `call-${iteration}`,
      tool: 'bash_exec',
      output,
      exit_code: 2,
      outcome: 'error',
      duration_ms: 800,
      bytes,
      truncated: false,
      sha256: null,
    },
  }
}

/** Prepares the appends of one run, a few records each, in advance. */
export class RunScript {
  readonly #runId: string
  readonly #records: Generator<RunRecord, never>
  #run: LoadedRun | null = null

  constructor(runId: string) {
    this.#runId = runId
    this.#records = endlessRun(runId)
  }

  next(records: number): PreparedAppend {
    return this.#prepare(Array.from({ length: records }, () => this.#records.next().value))
  }

  /** One record of ordinary size that contains a text. */
  stamped(stamp: string): PreparedAppend {
    const payload = { changes: { model_name: stamp } }
    return this.#prepare([
      { kind: 'run_config_changed', run_id: this.#runId, iteration: 1, ts: START, payload },
    ])
  }

  /** Ends the run, whatever its state. */
  end(): PreparedAppend {
    const payload = {
      achieved: false,
      iterations: 1,
      total_tokens: 1,
      estimated_cost_usd: null,
      status: 'aborted',
      reason: 'enough',
    } as const
    return this.#prepare([
      { kind: 'run_end', run_id: this.#runId, iteration: 1, ts: START, payload },
    ])
  }

  #prepare(records: RunRecord[]): PreparedAppend {
    const prepared = prepare(this.#runId, this.#run, records, AUTHOR)
    this.#run = prepared.after
    return prepared
  }
}
