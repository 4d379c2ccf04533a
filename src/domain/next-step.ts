import { isIntroductionDue } from './advance.ts'
import type { OpenCall, RunState } from './state.ts'

/** What a run does next. Only its state decides. */
export type NextStep =
  | { readonly type: 'call_model' }
  | { readonly type: 'run_tool'; readonly call: OpenCall }
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
      return phase.open === null ? { type: 'proceed' } : { type: 'run_tool', call: phase.open }
    case 'evaluating':
      return { type: 'check_goal' }
    case 'awaiting_human':
      return { type: 'await_human' }
    case 'ended':
      return { type: 'end' }
    case 'ending':
      return { type: phase.isSummarized ? 'proceed' : 'summarize' }
    case 'checked':
      return { type: isIntroductionDue(state) ? 'read_context' : 'proceed' }
    case 'ready':
    case 'replied':
    case 'iterated':
    case 'consulting':
    case 'aborting':
    case 'erred':
      return { type: 'proceed' }
  }
}
