import type { RequestedCall } from './records.ts'
import { isReached } from './run-verdict.ts'
import { isCopyDue, isReviewDue, type OpenCall, type Phase, type RunState } from './state.ts'

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

type Plain = Exclude<NextStep, { readonly call: unknown }>['type']

/** What follows a phase, if nothing else is due in it. */
const NEXT: { readonly [T in Phase['type']]: Plain } = {
  ready: 'proceed',
  planning: 'call_model',
  replied: 'proceed',
  acting: 'proceed',
  evaluating: 'check_goal',
  checked: 'proceed',
  iterated: 'proceed',
  consulting: 'proceed',
  awaiting_human: 'await_human',
  awaiting_approval: 'await_human',
  paused: 'await_human',
  aborting: 'proceed',
  erred: 'proceed',
  ending: 'proceed',
  ended: 'end',
}

export function nextStep(state: RunState): NextStep {
  const { phase } = state
  if (phase.type === 'acting') {
    if (phase.open !== null && phase.answer?.decision !== 'deny') {
      return { type: 'run_tool', call: phase.open }
    }
    const [call] = phase.pending
    if (call !== undefined && isReviewDue(state)) return { type: 'review_call', call }
  }
  if (isCopyDue(state)) return { type: 'copy_project' }
  if (isIntroductionDue(state)) return { type: 'read_context' }
  if (phase.type === 'ending' && !phase.isSummarized) return { type: 'summarize' }
  return { type: NEXT[phase.type] }
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
