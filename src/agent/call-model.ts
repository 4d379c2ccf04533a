import { err, ok, type Result } from 'neverthrow'
import { allMessages, tokensOf, toMessages, turnCount } from '../domain/conversation.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { modelInUse, nextFallback } from '../domain/state.ts'
import { sleep } from '../lib/backoff.ts'
import type { Attempt } from '../live/attempt.ts'
import type { Effects } from './effects.ts'
import type { ModelFailure } from './model/model.ts'
import { type AfterFailure, afterFailure, replyRecords } from './model-outcome.ts'
import type { RunSession, SessionError } from './run-session.ts'
import { writeReply } from './under-way.ts'

type StepResult = Result<void, SessionError>

/** Asks the model for its next reply, and records it, or why there is none. */
export async function callModel(
  session: RunSession,
  { models, toolbox, modelRetryMs, modelAttempts }: Effects,
  attempt: Attempt | null,
  signal: AbortSignal,
): Promise<StepResult> {
  const { config } = session.state
  const modelName = modelInUse(session.state)
  const budget = await models.contextBudget(modelName)
  const { messages, omittedTurns } = toMessages(session.conversation, budget)
  const began = performance.now()
  const request = {
    modelName,
    messages,
    tools: toolbox.specs,
    cacheKey: session.state.runId,
    ...settingsOf(config),
  }
  const userMessages = allMessages(session.conversation)
  const keptTurns = turnCount(session.conversation) - omittedTurns
  const reply = await models.complete(request, signal, writeReply(attempt))
  if (signal.aborted) return err({ type: 'cancelled' })
  const sent = {
    modelName,
    durationMs: Math.round(performance.now() - began),
    omittedTurns,
    keptTurns,
    tokens: tokensOf(messages),
    userMessages,
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

/** The settings of a run that are not set are the model's own. */
function settingsOf({ reasoning_effort = null, max_output_tokens = null }: RunConfig) {
  return {
    ...(reasoning_effort === null ? {} : { effort: reasoning_effort }),
    ...(max_output_tokens === null ? {} : { maxOutputTokens: max_output_tokens }),
  }
}

async function recordFailure(
  session: RunSession,
  failure: Exclude<ModelFailure, { type: 'cancelled' }>,
  policy: Omit<AfterFailure, 'failures' | 'fallback'>,
  signal: AbortSignal,
): Promise<StepResult> {
  const { phase } = session.state
  const failures = phase.type === 'planning' ? phase.failures - (phase.otherFailures ?? 0) : 0
  const fallback = nextFallback(session.state)
  const next = afterFailure(failure, { ...policy, failures, fallback })
  const recorded = await session.record(next)
  if (recorded.isErr() || next.type === 'fail') return recorded
  return (await sleep(next.delayMs, signal)) ? ok(undefined) : err({ type: 'cancelled' })
}
