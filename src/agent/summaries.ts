import { err, ok, type Result } from 'neverthrow'
import {
  compact,
  type DueCompaction,
  dueCompaction,
  filesWritten,
  withoutRedacted,
} from '../domain/compaction.ts'
import { type Conversation, turnCount } from '../domain/conversation.ts'
import { REDACTED } from '../domain/free-text.ts'
import { failedRequests, modelInUse } from '../domain/model-choice.ts'
import { present } from '../domain/present.ts'
import type { PayloadOf } from '../domain/records.ts'
import { toMessages } from '../domain/sent-messages.ts'
import { unended } from '../domain/sentences.ts'
import type { RunState } from '../domain/state.ts'
import { counted } from '../lib/counted.ts'
import type { Effects } from './effects.ts'
import type { ModelFailure } from './model/model.ts'
import {
  afterFailure,
  replyRecords,
  type SentRequest,
  type Unaffordable,
  usageOf,
} from './model-outcome.ts'
import { askModel, budgetOf, recordFailure, toolTokens } from './model-request.ts'
import type { RunSession, StepResult } from './run-session.ts'

/** How often the model is asked for a summary of its first turns. */
const COMPACTION_ATTEMPTS = 2
/** Failures after which a summary of the first turns is waited for. */
const AWAY: ReadonlySet<string> = new Set(['unreachable', 'rate_limited', 'overloaded'])
/** How long the model may take for the summary at the end of a run. */
const SUMMARY_WITHIN_MS = 120_000
/** Longer summaries are cut. */
const MAX_SUMMARY_CHARACTERS = 8_000
/** What is quoted of the last reply. */
const QUOTED_CHARACTERS = 1_000

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
export function compactIfDue(
  session: RunSession,
  effects: Effects,
  budget: number,
  signal: AbortSignal,
): Promise<StepResult> | null {
  const due = dueCompaction(session.conversation, budget, toolTokens(session, effects))
  if (due === null) return null
  return due.outputsOnly
    ? leaveOutputsOut(session, due, { budget, tools: toolTokens(session, effects) })
    : compactNow(session, effects, { due, budget }, signal)
}

/** They stay in the log, where `output_read` finds them. */
function leaveOutputsOut(
  session: RunSession,
  { turns, upTo, tokensBefore }: DueCompaction,
  { budget, tools }: { readonly budget: number; readonly tools: number },
): Promise<StepResult> {
  const after = { ...session.conversation, emptiedTurns: turns }
  const compaction = {
    ...{ turns, up_to: upTo, outputs_only: true as const, summary: null },
    ...{ model_name: modelInUse(session.state), cost_usd: 0, tokens_before: tokensBefore },
    tokens_after: toMessages(after, budget, tools).tokens,
  }
  return session.record({ type: 'record_compaction', usage: null, compaction })
}

async function compactNow(
  session: RunSession,
  effects: Effects,
  { due, budget }: { readonly due: DueCompaction; readonly budget: number },
  signal: AbortSignal,
): Promise<StepResult> {
  const { conversation, redactions } = session
  const about = { question: COMPACTION_REQUEST, purpose: 'compaction' } as const
  const request = { conversation: withoutRedacted(conversation), budget, ...about }
  const asked = await ask(session, effects, request, signal)
  if (signal.aborted) return err({ type: 'cancelled' })
  const record = (text: string | null, usage: PayloadOf<'llm_usage'> | null, failure?: string) => {
    const { turns, upTo, tokensBefore } = due
    const after = compact(conversation, { turns, summary: text })
    const compaction = {
      turns,
      up_to: upTo,
      summary: text,
      ...present({ failure }),
      model_name: modelInUse(session.state),
      cost_usd: usage?.cost_usd ?? null,
      tokens_before: tokensBefore,
      tokens_after: toMessages(after, budget, toolTokens(session, effects)).tokens,
    }
    const report = { type: 'record_compaction', usage, compaction } as const
    return session.recordUnlessRedacted(redactions, report, onlyUsage(usage))
  }
  if (asked.isOk()) {
    const { text, usage } = asked.value
    return record(text, usage, text === null ? NO_TEXT : undefined)
  }
  const { failure, sent } = asked.error
  if (failure.type === 'cancelled') return err({ type: 'cancelled' })
  if (failure.type === 'unaffordable') return record(null, null, failure.message)
  const { leftMs } = session
  const retryMs = effects.modelRetryMs
  // Another failure may be due to this request, and then the run can continue without a summary.
  const isAway = failure.type === 'transient' && AWAY.has(failure.kind)
  const patienceMs = isAway ? session.patienceMs : 0
  const policy = { attempts: COMPACTION_ATTEMPTS, retryMs, leftMs, patienceMs, sent }
  const next = afterFailure(failure, { ...policy, ...failedRequests(session.state) })
  if (next.type === 'fail') return record(null, next.usage ?? null, next.message)
  return recordFailure(session, next)
}

/** Records a summary of a run that ends without its goal: by the model, or from the log if no limit leaves room. */
export async function summarizeRun(
  session: RunSession,
  effects: Effects,
  signal: AbortSignal,
): Promise<StepResult> {
  const { state, conversation, redactions } = session
  const record = (summary: PayloadOf<'run_summary'>, usage: PayloadOf<'llm_usage'> | null = null) =>
    session.recordUnlessRedacted(
      ...([redactions, { type: 'record_summary', usage, summary }, onlyUsage(usage)] as const),
    )
  const fromLog = (failure?: string, usage?: PayloadOf<'llm_usage'>) => {
    const text = factualSummary(state, conversation).slice(0, MAX_SUMMARY_CHARACTERS)
    return record({ text: text.toWellFormed(), source: 'log', ...present({ failure }) }, usage)
  }
  if (session.exhausted() !== null) return fromLog()
  const reason = state.phase.type === 'ending' ? state.phase.reason : ''
  const budget = await budgetOf(session, effects.models)
  const about = { question: summaryRequest(reason), purpose: 'summary' } as const
  const request = { conversation: withoutRedacted(conversation), budget, ...about }
  const within = AbortSignal.any([signal, AbortSignal.timeout(SUMMARY_WITHIN_MS)])
  const asked = await ask(session, effects, request, within)
  if (signal.aborted) return err({ type: 'cancelled' })
  if (asked.isErr()) {
    const { failure, sent } = asked.error
    return fromLog(messageOf(failure), usageOf(failure, sent).usage)
  }
  const { text, usage } = asked.value
  if (text === null) return fromLog(NO_TEXT, usage)
  return record({ text, source: 'model' }, usage)
}

/** What is recorded of a summary that a redaction has made useless. */
const onlyUsage = (usage: PayloadOf<'llm_usage'> | null) =>
  usage === null ? null : ({ type: 'record_usage', usage } as const)

const NO_TEXT = 'The model wrote no text'

const messageOf = (failure: ModelFailure | Unaffordable): string =>
  failure.type === 'cancelled'
    ? `The model did not answer within ${SUMMARY_WITHIN_MS / 1000} seconds`
    : failure.message

type Unanswered = {
  readonly failure: ModelFailure | Unaffordable
  readonly sent: SentRequest
}
type Asked = { readonly text: string | null; readonly usage: PayloadOf<'llm_usage'> }

/**
 * Asks the model something that is not a part of its work, after the conversation as it is. The request keeps the
 * tools, because some providers require them with earlier calls, and all of them cache a beginning that stays the same.
 * No call in the reply is run.
 */
async function ask(
  session: RunSession,
  effects: Effects,
  asked: Parameters<typeof askModel>[2],
  signal: AbortSignal,
): Promise<Result<Asked, Unanswered>> {
  const { reply, sent } = await askModel(session, effects, asked, signal)
  if (reply.isErr()) return err({ failure: reply.error, sent })
  const { finishReason } = reply.value
  const written = finishReason === 'refusal' ? '' : (reply.value.text?.trim() ?? '')
  const isUsable = written !== '' && written !== REDACTED
  const text = isUsable ? written.slice(0, MAX_SUMMARY_CHARACTERS).toWellFormed() : null
  return ok({ text, usage: replyRecords(reply.value, sent).usage })
}

/** A summary of a run that its model did not write. */
function factualSummary(state: RunState, conversation: Conversation): string {
  const { iteration, goal, total } = state
  const cost = total.costUsd === null ? 'at an unknown price' : `for $${total.costUsd.toFixed(4)}`
  const files = filesWritten(conversation)
  const words = conversation.turns?.turn.reply.text?.trim() ?? ''
  const turns = turnCount(conversation)
  const replies = turns === 1 ? 'one reply' : `${turns} replies`
  return [
    `The agent worked through ${counted(iteration, 'iteration')} with ${replies}: ${counted(total.tokens, 'token')}, ${cost}.`,
    `The last check of the goal: ${unended(goal?.reason ?? 'none')}.`,
    files.length === 0
      ? 'It wrote no files by name.'
      : `It wrote these files: ${files.join(', ')}.`,
    ...(words === ''
      ? []
      : [`Its last words: ${words.slice(0, QUOTED_CHARACTERS).toWellFormed()}`]),
  ].join('\n')
}
