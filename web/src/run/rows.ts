import type { Kind } from '../../../src/client/index.ts'
import type { SeqRecordOf } from './seq-record.ts'

export type StepNode = SeqRecordOf<'step_start'>['payload']['node']

/**
 * The rows of the timeline, in the order of `seq`. A row of several records keeps them, so that it can be shown as it
 * was at any earlier record: what has a later seq had not happened yet. `end` is what completes it; null until then.
 */
export type Row =
  | {
      readonly type: 'iteration'
      readonly seq: number
      readonly iteration: number
      readonly ts: number
      readonly end: SeqRecordOf<'iteration_complete'> | null
    }
  | {
      readonly type: 'step'
      readonly seq: number
      readonly node: StepNode
      readonly ts: number
      readonly end: { readonly seq: number; readonly ts: number } | null
    }
  | {
      readonly type: 'message'
      readonly seq: number
      readonly usage: SeqRecordOf<'llm_usage'>
      readonly end: SeqRecordOf<'assistant_message'> | null
    }
  | {
      readonly type: 'tool'
      readonly seq: number
      readonly call: SeqRecordOf<'tool_call'>
      readonly end: SeqRecordOf<'tool_result'> | null
    }
  | { readonly type: 'goal'; readonly seq: number; readonly check: SeqRecordOf<'goal_check'> }
  | {
      readonly type: 'human'
      readonly seq: number
      readonly required: SeqRecordOf<'human_check_required'>
      readonly end: SeqRecordOf<'human_check_response'> | null
    }
  | {
      readonly type: 'closed'
      readonly seq: number
      readonly record: SeqRecordOf<'iteration_complete'>
    }
  | { readonly type: 'note'; readonly seq: number; readonly record: Note }

/** Kinds of records that never make a row of their own. All others may, such as the usage of a reply that was not used. */
type Placed =
  | 'step_start'
  | 'tool_call'
  | 'goal_check'
  | 'human_check_required'
  | 'iteration_complete'

/** Records that make a row of their own. */
export type Note = { [K in Exclude<Kind, Placed>]: SeqRecordOf<K> }[Exclude<Kind, Placed>]

export type RowOf<T extends Row['type']> = Extract<Row, { type: T }>

/** The seq of the last record that a row holds: after that it does not change any more. */
export const lastSeqOf = (row: Row): number =>
  'end' in row ? (row.end?.seq ?? Number.POSITIVE_INFINITY) : row.seq
