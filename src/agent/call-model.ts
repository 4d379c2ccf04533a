import { err, ok } from 'neverthrow'
import { allMessages, turnCount } from '../domain/conversation.ts'
import { toMessages } from '../domain/sent-messages.ts'
import { failedRequests, nextFallback } from '../domain/state.ts'
import { sleep } from '../lib/backoff.ts'
import type { Attempt } from '../live/attempt.ts'
import type { Effects } from './effects.ts'
import type { ModelFailure } from './model/model.ts'
import { type AfterFailure, afterFailure, replyRecords } from './model-outcome.ts'
import { budgetOf, requestOf, withImages } from './model-request.ts'
import type { RunSession, StepResult } from './run-session.ts'
import { compactIfDue } from './summaries.ts'
import { writeReply } from './under-way.ts'

/** Records the model's next reply, or why it gave none. If the conversation is too long, it is summarized first. */
export async function callModel(
  session: RunSession,
  effects: Effects,
  attempt: Attempt | null,
  signal: AbortSignal,
): Promise<StepResult> {
  const { models, modelRetryMs, modelAttempts } = effects
  const budget = await budgetOf(session, models)
  const compacted = compactIfDue(session, effects, budget, signal)
  if (compacted !== null) return compacted
  const { messages, omittedTurns, tokens } = toMessages(session.conversation, budget)
  const shown = await withImages(session, messages, effects)
  const request = requestOf(session, shown.messages, effects)
  const userMessages = allMessages(session.conversation)
  const keptTurns = turnCount(session.conversation) - omittedTurns
  const began = performance.now()
  const reply = await models.complete(request, signal, writeReply(attempt))
  if (signal.aborted) return err({ type: 'cancelled' })
  const sent = {
    modelName: request.modelName,
    durationMs: Math.round(performance.now() - began),
    omittedTurns,
    keptTurns,
    tokens,
    userMessages,
    images: shown.images,
  }
  if (reply.isOk())
    return session.record({ type: 'record_reply', ...replyRecords(reply.value, sent) })
  if (reply.error.type === 'cancelled') return err({ type: 'cancelled' })
  attempt?.end('withdrawn')
  return recordFailure(
    session,
    reply.error,
    { retryMs: modelRetryMs, attempts: modelAttempts, sent },
    signal,
  )
}

async function recordFailure(
  session: RunSession,
  failure: Exclude<ModelFailure, { type: 'cancelled' }>,
  policy: Omit<AfterFailure, 'failures' | 'invalidReplies' | 'fallback'>,
  signal: AbortSignal,
): Promise<StepResult> {
  const fallback = nextFallback(session.state)
  const next = afterFailure(failure, { ...policy, ...failedRequests(session.state), fallback })
  const recorded = await session.record(next)
  if (recorded.isErr() || next.type === 'fail') return recorded
  return (await sleep(next.delayMs, signal)) ? ok(undefined) : err({ type: 'cancelled' })
}
