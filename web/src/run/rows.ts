import type { SeqRecordOf } from './seq-record.ts'

export type StepNode = SeqRecordOf<'step_start'>['payload']['node']

/**
 * The rows of the timeline, in the order of `seq`. A row of several records keeps them, so that it can be shown as it
 * was at any earlier record: what has a later seq had not happened yet.
 */
export type Row =
  | {
      readonly type: 'iteration'
      readonly seq: number
      readonly iteration: number
      readonly ts: number
      /** The seq of the record that closed it. */
      readonly closed: SeqRecordOf<'iteration_complete'> | null
    }
  | {
      readonly type: 'step'
      readonly seq: number
      readonly node: StepNode
      readonly ts: number
      readonly until: { readonly seq: number; readonly ts: number } | null
    }
  | {
      readonly type: 'message'
      readonly seq: number
      readonly usage: SeqRecordOf<'llm_usage'>
      readonly message: SeqRecordOf<'assistant_message'> | null
    }
  | {
      readonly type: 'tool'
      readonly seq: number
      readonly call: SeqRecordOf<'tool_call'>
      readonly result: SeqRecordOf<'tool_result'> | null
    }
  | { readonly type: 'goal'; readonly seq: number; readonly check: SeqRecordOf<'goal_check'> }
  | {
      readonly type: 'human'
      readonly seq: number
      readonly required: SeqRecordOf<'human_check_required'>
      readonly response: SeqRecordOf<'human_check_response'> | null
    }
  | {
      readonly type: 'closed'
      readonly seq: number
      readonly record: SeqRecordOf<'iteration_complete'>
    }
  | { readonly type: 'note'; readonly seq: number; readonly record: Note }

/** Records that make a row of their own. */
export type Note =
  | SeqRecordOf<'run_created'>
  | SeqRecordOf<'run_claimed'>
  | SeqRecordOf<'run_queued'>
  | SeqRecordOf<'run_config_changed'>
  | SeqRecordOf<'project_context'>
  | SeqRecordOf<'mcp_tools_listed'>
  | SeqRecordOf<'snapshot'>
  | SeqRecordOf<'left_out_hashed'>
  | SeqRecordOf<'user_message'>
  | SeqRecordOf<'agent_stuck'>
  | SeqRecordOf<'final_check'>
  | SeqRecordOf<'context_compacted'>
  /** A request that is not for a reply of the agent, or whose reply could not be used. */
  | SeqRecordOf<'llm_usage'>
  | SeqRecordOf<'approval_required'>
  | SeqRecordOf<'approval_response'>
  | SeqRecordOf<'run_ending'>
  | SeqRecordOf<'run_summary'>
  | SeqRecordOf<'llm_retry'>
  | SeqRecordOf<'network_connection'>
  | SeqRecordOf<'guard_changed'>
  | SeqRecordOf<'subagent_started'>
  | SeqRecordOf<'assistant_message'>
  | SeqRecordOf<'tool_result'>
  | SeqRecordOf<'human_check_response'>
  | SeqRecordOf<'error'>
  | SeqRecordOf<'run_end'>
  | SeqRecordOf<'project_copied'>
  | SeqRecordOf<'run_paused'>
  | SeqRecordOf<'run_resumed'>
  | SeqRecordOf<'changes_applied'>
  | SeqRecordOf<'files_rolled_back'>
  | SeqRecordOf<'copy_discarded'>

export type RowOf<T extends Row['type']> = Extract<Row, { type: T }>

/** The seq of the last record that a row holds: after that it does not change any more. */
export function lastSeqOf(row: Row): number {
  switch (row.type) {
    case 'iteration':
      return row.closed?.seq ?? Number.POSITIVE_INFINITY
    case 'step':
      return row.until?.seq ?? Number.POSITIVE_INFINITY
    case 'message':
      return row.message?.seq ?? Number.POSITIVE_INFINITY
    case 'tool':
      return row.result?.seq ?? Number.POSITIVE_INFINITY
    case 'human':
      return row.response?.seq ?? Number.POSITIVE_INFINITY
    default:
      return row.seq
  }
}
