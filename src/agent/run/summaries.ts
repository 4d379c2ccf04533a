import { err } from 'neverthrow'
import { exhaustedBudget } from '../../domain/budget.ts'
import type { Made } from '../../domain/commands.ts'
import { compact, dueCompaction } from '../../domain/compaction.ts'
import type { Conversation } from '../../domain/conversation.ts'
import { modelInUse } from '../../domain/model-choice.ts'
import { present } from '../../domain/present.ts'
import type { PayloadOf } from '../../domain/records.ts'
import { toMessages } from '../../domain/sent-messages.ts'
import type { RunState } from '../../domain/state.ts'
import { unended } from '../../domain/texts.ts'
import { counted } from '../../lib/text.ts'
import type { Work } from './effects.ts'
import { afterFailure, retryPolicy } from './model-outcome.ts'
import { askModel, budgetOf, recordFailure, toolTokens } from './model-request.ts'
import type { RunSession, StepResult } from './session.ts'

/** Failures after which a summary of the first turns is waited for. */
const AWAY: ReadonlySet<string> = new Set(['unreachable', 'rate_limited', 'overloaded'])
/** How long the model may take for the summary at the end of a run. */
const SUMMARY_WITHIN_MS = 120_000
/** Longer summaries are cut. */
const MAX_SUMMARY_CHARACTERS = 8_000

/** What the model is asked before its first turns are left out of the conversation. */
const COMPACTION_REQUEST = `Your conversation has nearly filled your context window, so its first turns are about to be replaced by a summary. Write it now, as text only: a call would not be run.

Write what you need to continue with nothing but this summary, your task, the messages of people, the last check and your latest turns. Use these headings:
# Goal and constraints
# Done: which files, and why
# In progress
# Failures that are not solved: exact commands and messages
# Decisions and findings
# Next steps

Keep paths, names, commands and messages exactly as they are. Leave out what is no longer needed. At most 1,500 words.`

/** What the model is asked at the end of a run that has not reached its goal. */
const summaryRequest = (reason: string): string =>
  `The run ends now. ${unended(reason)}.

Write a summary for the person who started it, as text only: a call would not be run. Say what you changed and where (path:line), what you found out, what does not work yet, and what you would try next. Only facts, at most 200 words.`

/**
 * Makes the conversation shorter if it would not fit into the budget of the next request: by leaving out old outputs or,
 * if that is not enough, by a summary of its first turns, which the model writes. If it cannot, they are left out without a
 * summary, which is recorded too. Null if there is nothing to do.
 */
export async function compactIfDue(work: Work, budget: number): Promise<StepResult | null> {
  const { session, signal } = work
  const { conversation, redactions } = session
  const due = dueCompaction(conversation, budget, toolTokens(work))
  if (due === null) return null
  const { turns, upTo: up_to, tokensBefore: tokens_before } = due
  const record = (after: Conversation, words: Words, usage: Usage | null = null) => {
    const { tokens: tokens_after } = toMessages(after, budget, toolTokens(work))
    const about = { turns, up_to, model_name: modelInUse(session.state) }
    const context_compacted = { ...about, tokens_before, tokens_after, ...words }
    return recordUnlessRedacted(session, redactions, { llm_usage: usage, context_compacted })
  }
  if (due.outputsOnly) {
    // They stay in the log, where `output_read` finds them.
    const after = { ...conversation, emptiedTurns: turns }
    return record(after, { outputs_only: true, summary: null, cost_usd: 0 })
  }
  const aside = { question: COMPACTION_REQUEST, purpose: 'compaction' } as const
  const { text: summary, failure, sent } = await ask(work, { budget, aside }, signal)
  if (signal.aborted || failure?.type === 'cancelled') return err({ type: 'cancelled' })
  // Another failure may be due to this request, and then the run can continue without a summary.
  if (failure?.type === 'transient' && AWAY.has(failure.kind)) {
    const next = afterFailure(failure, { ...retryPolicy(work, sent), fallback: null })
    if (next.type !== 'fail') return recordFailure(work, next)
  }
  const why = failure?.message ?? (summary === null ? NO_TEXT : null)
  const words = { summary, ...present({ failure: why }), cost_usd: sent.usage?.cost_usd ?? null }
  return record(compact(conversation, { turns, summary }), words, sent.usage)
}

type Words = Pick<
  PayloadOf<'context_compacted'>,
  'outputs_only' | 'summary' | 'failure' | 'cost_usd'
>

/** Records a summary of a run that ends without its goal: by the model, or from the log if no limit leaves room. */
export async function summarizeRun(work: Work): Promise<StepResult> {
  const { session, signal } = work
  const { state, redactions } = session
  const record = (summary: PayloadOf<'run_summary'>, usage: Usage | null = null) => {
    return recordUnlessRedacted(session, redactions, { llm_usage: usage, run_summary: summary })
  }
  const fromLog = (failure?: string, usage?: Usage | null) => {
    const text = factualSummary(state).slice(0, MAX_SUMMARY_CHARACTERS)
    return record({ text: text.toWellFormed(), source: 'log', ...present({ failure }) }, usage)
  }
  if (exhaustedBudget(state, session.now) !== null) return fromLog()
  const reason = state.phase.type === 'ending' ? state.phase.reason : ''
  const budget = await budgetOf(work)
  const aside = { question: summaryRequest(reason), purpose: 'summary' } as const
  const within = AbortSignal.any([signal, AbortSignal.timeout(SUMMARY_WITHIN_MS)])
  const { text, failure, sent } = await ask(work, { budget, aside }, within)
  if (signal.aborted) return err({ type: 'cancelled' })
  if (text !== null) return record({ text, source: 'model' }, sent.usage)
  const why = failure?.type === 'cancelled' ? NOT_IN_TIME : failure?.message
  return fromLog(why ?? NO_TEXT, sent.usage)
}

type Usage = PayloadOf<'llm_usage'>

/** Of a summary that a redaction has made useless, only the price is recorded. */
const recordUnlessRedacted = (session: RunSession, redactions: number, made: Made) =>
  session.record(() => {
    const { llm_usage } = made
    if (session.redactions === redactions) return { type: 'record', made }
    return llm_usage == null ? null : { type: 'record', made: { llm_usage } }
  })

const NO_TEXT = 'The model wrote no text'
const NOT_IN_TIME = `The model did not answer within ${SUMMARY_WITHIN_MS / 1000} seconds`

/**
 * Asks the model something that is not a part of its work, after the conversation as it is. The request keeps the
 * tools, because some providers require them with earlier calls, and all of them cache a beginning that stays the same.
 * No call in the reply is run.
 */
async function ask(
  work: Work,
  asked: Pick<Parameters<typeof askModel>[1], 'budget' | 'aside'>,
  signal: AbortSignal,
) {
  const { conversation } = work.session
  const { reply, sent } = await askModel(work, { ...asked, conversation }, signal)
  if (reply.isErr()) return { text: null, failure: reply.error, sent }
  const { finishReason, text } = reply.value
  const written = finishReason === 'refusal' ? '' : (text?.trim() ?? '')
  const kept = written.slice(0, MAX_SUMMARY_CHARACTERS).toWellFormed()
  return { text: kept || null, failure: null, sent }
}

/** A summary of a run that its model did not write. */
function factualSummary({ iteration, goal, total }: RunState): string {
  const cost = total.costUsd === null ? 'at an unknown price' : `for $${total.costUsd.toFixed(4)}`
  const used = `${counted(iteration, 'iteration')}, ${counted(total.tokens, 'token')} ${cost}`
  return `The agent worked: ${used}.\nThe last check of the goal: ${unended(goal?.reason ?? 'none')}.`
}
