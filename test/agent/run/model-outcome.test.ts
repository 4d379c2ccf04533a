import { ok } from 'neverthrow'
import { describe, expect, test } from 'vitest'
import {
  afterFailure,
  messageOf,
  type NextAttempt,
  usageOf,
} from '../../../src/agent/run/model-outcome.ts'
import type { FinishReason, ModelReply } from '../../../src/models/model.ts'

const SENT = {
  modelName: 'm',
  durationMs: 5,
  omittedTurns: 1,
  keptTurns: 3,
  tokens: 1001,
  usage: null,
}
const REPLY: ModelReply = {
  text: 'Done.',
  toolCalls: [],
  finishReason: 'stop',
  providerItems: null,
  usage: {
    inputTokens: 10,
    outputTokens: 5,
    cachedTokens: 4,
    reasoningTokens: 2,
    cacheWriteTokens: null,
  },
  provider: 'openai',
  costUsd: 0.5,
  priceSource: 'catalogue',
  firstTokenMs: 7,
}

describe('the records of a reply', () => {
  test('have what its provider reports, and null for what it does not', () => {
    expect(usageOf(ok(REPLY), SENT)).toEqual({
      input_tokens: 10,
      output_tokens: 5,
      cached_tokens: 4,
      cache_write_tokens: null,
      reasoning_tokens: 2,
      cost_usd: 0.5,
      provider: 'openai',
      price_source: 'catalogue',
      model_name: 'm',
      duration_ms: 5,
      first_token_ms: 7,
      omitted_turns: 1,
      kept_words: true,
    })
    const message = { text: 'Done.', tool_calls: [], finish_reason: 'stop' }
    expect(messageOf(REPLY, SENT, 0)).toEqual(message)
    expect(messageOf(REPLY, SENT, 2)).toEqual({ ...message, user_messages: 2 })
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
    const message = messageOf(reply, SENT, 0)
    expect(message.notice).toMatch(notice)
    expect(message.context_tokens).toBe(finishReason === 'overflow' ? 800 : undefined)
  })
})

type Failure = Parameters<typeof afterFailure>[0]
type Policy = Parameters<typeof afterFailure>[1]

const away = (
  retryAfterMs: number | null,
  kind: 'rate_limited' | 'invalid_reply' = 'rate_limited',
) => ({ type: 'transient', kind, message: 'Slow.', retryAfterMs }) as const
const fallback = { from: 'm', to: 'other' }
const many = { failures: 99, attempts: 6 }

test.each<[string, Failure, Partial<Policy>, Partial<NextAttempt>]>([
  [
    'the wait that the provider asks for',
    away(5_000),
    {},
    { type: 'record_retry', reason: 'Slow.', delayMs: 5_000, failure: 'rate_limited' },
  ],
  ['two minutes at most', away(500_000), {}, { delayMs: 120_000 }],
  ['no longer than the run may still work', away(60_000), { leftMs: 3_000 }, { delayMs: 3_000 }],
  ['all waits, before another model', away(200_000), { fallback }, { delayMs: 120_000 }],
  ['no wait, if all are shorter', away(500_000), { fallback }, { delayMs: 0, fallback }],
  [
    'four fifths of a conversation that is too long',
    { type: 'context_overflow', message: 'Too long.' },
    {},
    { type: 'record_retry', failure: 'context_overflow', contextTokens: 800 },
  ],
  [
    'nothing, if that has one turn',
    { type: 'context_overflow', message: 'Too long.' },
    { sent: { ...SENT, keptTurns: 1 } },
    { type: 'fail', message: 'Too long.' },
  ],
  [
    'refused reasoning, which is recorded',
    { type: 'reasoning_refused', message: 'Bound.' },
    {},
    { type: 'record_retry', failure: 'reasoning_refused' },
  ],
  [
    'nothing after what no attempt can change',
    { type: 'refused', message: 'Pay.' },
    { ...many, patienceMs: 1 },
    { type: 'fail', message: 'Pay (attempt 100)', traceback: '' },
  ],
  [
    'a short wait for a model that is away for long',
    away(null),
    { ...many, patienceMs: 1 },
    { type: 'record_retry', failure: 'rate_limited' },
  ],
  [
    'nothing after a day',
    away(null),
    { ...many, patienceMs: 0 },
    { type: 'fail', message: 'Slow (attempt 100)' },
  ],
  [
    'nothing after many replies that are not valid',
    away(null, 'invalid_reply'),
    { ...many, patienceMs: 1 },
    { type: 'fail' },
  ],
])('after a failed attempt comes %s', (_, failure, changes, next) => {
  const policy = {
    failures: 0,
    invalidReplies: 0,
    attempts: 3,
    retryMs: [100, 100] as const,
    sent: SENT,
    leftMs: Number.POSITIVE_INFINITY,
    patienceMs: 0,
    fallback: null,
  }
  expect(afterFailure(failure, { ...policy, ...changes })).toMatchObject(next)
})
