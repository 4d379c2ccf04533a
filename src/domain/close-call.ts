import { recordOf } from './advance.ts'
import type { RunRecord } from './records.ts'
import type { RunState } from './state.ts'

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
    output: 'The server crashed each time this call ran, so the run has ended.',
  },
  in_doubt: {
    outcome: 'unknown',
    output:
      'The server stopped while this call ran. It is not known whether the call took effect, and it is not ' +
      'run again automatically. Look at the state of the project before you decide what to do.',
  },
} as const

/** Records a result for the open call, so that every call has exactly one. */
export function closeOpenCall(state: RunState, now: number, how: keyof typeof HOW): RunRecord[] {
  const open = state.phase.type === 'acting' ? state.phase.open : null
  if (open === null) return []
  const { call_id, tool } = open
  const { output, outcome, ...why } = HOW[how]
  return [
    recordOf(state, now, 'tool_result', {
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
    }),
  ]
}
