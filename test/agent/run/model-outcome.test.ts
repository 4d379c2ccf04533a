import { describe, expect, test } from 'vitest'
import { afterFailure, replyRecords } from '../../../src/agent/run/model-outcome.ts'
import type { Fallback } from '../../../src/domain/records.ts'
import type { FinishReason, ModelReply } from '../../../src/models/model.ts'

const SENT = { modelName: 'm', durationMs: 5, omittedTurns: 1, keptTurns: 3, tokens: 1001 }
const REPLY: ModelReply = {
  text: 'Done.',
  toolCalls: [],
  finishReason: 'stop',
  providerItems: null,
  usage: {
    inputTokens: 10,
    outputTokens: 5,
    cachedTokens: 4,
    cacheWriteTokens: null,
    reasoningTokens: 2,
  },
  provider: 'openai',
  costUsd: 0.5,
  priceSource: 'catalogue',
  firstTokenMs: 7,
}

describe('the records of a reply', () => {
  test('have what its provider reports, and null for what it does not', () => {
    const { llm_usage: usage, assistant_message: message } = replyRecords(REPLY, SENT)
    expect(usage).toEqual({
      input_tokens: 10,
      output_tokens: 5,
      cost_usd: 0.5,
      model_name: 'm',
      duration_ms: 5,
      omitted_turns: 1,
      cached_tokens: 4,
      cache_write_tokens: null,
      reasoning_tokens: 2,
      first_token_ms: 7,
      provider: 'openai',
      price_source: 'catalogue',
      kept_words: true,
    })
    expect(message).toEqual({ text: 'Done.', tool_calls: [], finish_reason: 'stop' })
  })

  test.each<[FinishReason, RegExp]>([
    ['length', /cut off after 5 tokens.*None of the calls in it was run: bash_exec\./],
    ['overflow', /filled your context window/],
    ['refusal', /was a refusal/],
    ['pause', /interrupted by the provider/],
    ['empty', /neither text nor a tool call/],
    ['malformed', /could not be read/],
  ])('have a notice for the model if it ended with %s', (finishReason, notice) => {
    const reply = { ...REPLY, finishReason, droppedCalls: ['bash_exec', 'bash_exec'] }
    const { assistant_message: message } = replyRecords(reply, SENT)
    expect(message.notice).toMatch(notice)
    expect(message.context_tokens).toBe(finishReason === 'overflow' ? 800 : undefined)
  })
})

describe('after a failed attempt', () => {
  const policy = {
    failures: 0,
    invalidReplies: 0,
    attempts: 3,
    retryMs: [100, 100] as const,
    leftMs: Number.POSITIVE_INFINITY,
    patienceMs: 0,
    fallback: null,
    sent: SENT,
  }

  test('the next attempt comes after the wait that the provider asks for, at most two minutes; if all waits are shorter, another model is asked at once', () => {
    const wait = (retryAfterMs: number, fallback: Fallback | null = null) => {
      const failure = {
        type: 'transient',
        kind: 'rate_limited',
        message: 'Slow.',
        retryAfterMs,
      } as const
      return afterFailure(failure, { ...policy, fallback })
    }
    expect(wait(5_000)).toEqual({
      type: 'record_retry',
      reason: 'Slow.',
      delayMs: 5_000,
      failure: 'rate_limited',
    })
    expect(wait(500_000)).toMatchObject({ delayMs: 120_000 })
    const fallback = { from: 'm', to: 'other' }
    expect(wait(200_000, fallback)).toMatchObject({ delayMs: 120_000 })
    expect(wait(500_000, fallback)).toMatchObject({ delayMs: 0, fallback })
  })

  test('no attempt waits longer than the run may still work', () => {
    const failure = { type: 'transient', kind: 'rate_limited', message: 'Slow.' } as const
    const next = afterFailure({ ...failure, retryAfterMs: 60_000 }, { ...policy, leftMs: 3_000 })
    expect(next).toMatchObject({ type: 'record_retry', delayMs: 3_000 })
  })

  test('a conversation that is too long is sent again with four fifths of it, while there is more than one turn', () => {
    const failure = { type: 'context_overflow', message: 'Too long.' } as const
    expect(afterFailure(failure, policy)).toMatchObject({
      type: 'record_retry',
      failure: 'context_overflow',
      contextTokens: 800,
    })
    const last = { ...policy, sent: { ...SENT, keptTurns: 1 } }
    expect(afterFailure(failure, last)).toMatchObject({ type: 'fail', message: 'Too long.' })
  })

  test('refused reasoning is recorded, and a failure that no attempt can change ends the run', () => {
    expect(afterFailure({ type: 'reasoning_refused', message: 'Bound.' }, policy)).toMatchObject({
      type: 'record_retry',
      failure: 'reasoning_refused',
    })
    expect(afterFailure({ type: 'refused', message: 'Pay.' }, policy)).toEqual({
      type: 'fail',
      message: 'Pay.',
      traceback: '',
    })
  })
})
