import type { RequestedCall } from './records.ts'
import { isReached } from './run-verdict.ts'
import { isCopyDue, isReviewDue, type OpenCall, type RunState } from './state.ts'

/** What a run does next. Only its state decides. */
export type NextStep =
  /** The project is copied, before anything else begins. */
  | { readonly type: 'copy_project' }
  | { readonly type: 'call_model' }
  | { readonly type: 'run_tool'; readonly call: OpenCall }
  /** The rules of the run are compared with its next call, before that begins. */
  | { readonly type: 'review_call'; readonly call: RequestedCall }
  | { readonly type: 'check_goal' }
  | { readonly type: 'read_context' }
  | { readonly type: 'await_human' }
  | { readonly type: 'summarize' }
  /** Only records follow: the `proceed` command adds them. */
  | { readonly type: 'proceed' }
  | { readonly type: 'end' }

export function nextStep(state: RunState): NextStep {
  const { phase } = state
  switch (phase.type) {
    case 'planning':
      return { type: 'call_model' }
    case 'acting':
      if (phase.open !== null && phase.answer?.decision !== 'deny') {
        return { type: 'run_tool', call: phase.open }
      }
      return phase.pending[0] !== undefined && isReviewDue(state)
        ? { type: 'review_call', call: phase.pending[0] }
        : { type: 'proceed' }
    case 'evaluating':
      return { type: 'check_goal' }
    case 'awaiting_human':
    case 'awaiting_approval':
    case 'paused':
      return { type: 'await_human' }
    case 'ended':
      return { type: 'end' }
    case 'ending':
      return { type: phase.isSummarized ? 'proceed' : 'summarize' }
    case 'checked':
      return { type: isIntroductionDue(state) ? 'read_context' : 'proceed' }
    case 'ready':
      return { type: isCopyDue(state) ? 'copy_project' : 'proceed' }
    case 'replied':
    case 'iterated':
    case 'consulting':
    case 'aborting':
    case 'erred':
      return { type: 'proceed' }
  }
}

/** Whether the model has not been sent all messages of people. */
export const hasUnread = ({ messages }: RunState): boolean => messages.sent > messages.read

/** Whether the run ends because the goal is reached: not while there is more to do than the goal. */
export function isDone(state: RunState): boolean {
  const wanted = hasUnread(state) || (state.instructed && state.iteration === 0)
  return isReached(state) && !wanted
}

/** Whether the agent is to be shown its project next: after a first check that leaves something to do. */
export function isIntroductionDue(state: RunState): boolean {
  const { phase, iteration, introduced, uncheckable: impossible } = state
  return (
    phase.type === 'checked' && iteration === 0 && !introduced && impossible === 0 && !isDone(state)
  )
}
