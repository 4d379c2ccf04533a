import { evolve } from './evolve.ts'
import { present } from './present.ts'
import type { PayloadOf, RequestedCall, RunRecord } from './records.ts'
import type { SubagentEnd } from './related-runs.ts'
import { type CallAnswer, type RunState, recordOf, startedBy } from './state.ts'

/** Why a call has no result of its own. */
const HOW = {
  aborted: {
    outcome: 'aborted',
    output: 'The run was aborted while this call ran.',
    killed_by: 'abort',
  },
  failed: {
    outcome: 'unknown',
    output: 'The run failed while this call ran. It is not known whether the call took effect.',
  },
  not_run: {
    outcome: 'rejected',
    output: 'This call was not run, because the run ends.',
  },
  crashed: {
    outcome: 'aborted',
    output: 'The server crashed each time this call ran, so it is not run again.',
  },
  in_doubt: {
    outcome: 'unknown',
    output:
      'The server stopped while this call ran. It is not known whether the call took effect, and it is not ' +
      'run again automatically. Look at the state of the project before you decide what to do.',
  },
} as const

/**
 * Records a result for the open call, so that every call has exactly one.
 * @param subagent what the sub-agent has come to that the call waits for, if that is known
 */
export function closeOpenCall(
  state: RunState,
  now: number,
  how: keyof typeof HOW,
  subagent?: SubagentEnd,
): RunRecord[] {
  const open = state.phase.type === 'acting' ? state.phase.open : null
  if (open === null) return []
  return [resultOf(state, now, open, { ...HOW[how], ...present({ subagent }) })]
}

/**
 * Records results for the open call and for those after it whose sub-agents work beside it, when a person aborts the run.
 * @param soFar what the sub-agents have come to, as far as that is known
 */
export function abortCalls(
  state: RunState,
  now: number,
  soFar: readonly SubagentEnd[],
): RunRecord[] {
  const records: RunRecord[] = []
  let current = state
  const add = (added: readonly RunRecord[]): void => {
    records.push(...added)
    current = added.reduce<RunState>(evolve, current)
  }
  for (;;) {
    const { phase } = current
    if (phase.type !== 'acting') return records
    const { open, pending } = phase
    const [next] = pending
    if (open !== null) {
      const started = startedBy(current, open.call_id)
      const end = soFar.find(({ run_id }) => run_id === started?.run_id)
      add(closeOpenCall(current, now, 'aborted', end))
    } else if (next !== undefined && startedBy(current, next.call_id) !== null) {
      add([recordOf(current, now, 'tool_call', { ...next, read_only: false })])
    } else return records
  }
}

const NOT_RUN = 'This call did not run. Do not try to get the same effect in another way.'

/** The result of a call that a person or a rule denied. The model reads why. */
export function deniedCall(
  state: RunState,
  now: number,
  call: RequestedCall,
  { by = 'A person', reason }: Pick<CallAnswer, 'reason'> & { readonly by?: string },
): RunRecord {
  const why = reason === null ? '.' : `: ${reason}`
  const output = `${by} denied this call${why}\n${NOT_RUN}`
  return resultOf(state, now, call, { output, outcome: 'denied' })
}

function resultOf(
  state: RunState,
  now: number,
  { call_id, tool }: RequestedCall,
  how: Pick<PayloadOf<'tool_result'>, 'output' | 'outcome' | 'killed_by' | 'subagent'>,
): RunRecord {
  const { output, outcome, ...why } = how
  return recordOf(state, now, 'tool_result', {
    call_id,
    tool,
    output,
    exit_code: null,
    outcome,
    duration_ms: 0,
    bytes: new TextEncoder().encode(output).length,
    truncated: false,
    sha256: null,
    ...why,
  })
}
