import { describe, expect, test } from 'vitest'
import type { Conversation } from '../../src/domain/conversation.ts'
import { converse } from '../../src/domain/converse.ts'
import type { Kind, PayloadOf, RunRecord } from '../../src/domain/records.ts'
import { messagesWithout, toMessages } from '../../src/domain/sent-messages.ts'

const record = <K extends Kind>(kind: K, payload: PayloadOf<K>) =>
  ({ kind, run_id: 'r', iteration: 1, ts: 1, payload }) as RunRecord

const created = record('run_created', {
  config: { goal: 'pytest', cwd: '/p' } as PayloadOf<'run_created'>['config'],
  system_prompt: 'Fix it.',
})
const usage = (omitted_turns: number) =>
  record('llm_usage', {
    input_tokens: 1,
    output_tokens: 1,
    cost_usd: null,
    model_name: 'm',
    duration_ms: 1,
    omitted_turns,
  })
const said = (signature: string, more: Partial<PayloadOf<'assistant_message'>> = {}) =>
  record('assistant_message', {
    text: `Turn ${signature}`,
    tool_calls: [],
    finish_reason: 'stop',
    provider_items: { provider: 'anthropic', api: 'messages', model: 'c', items: [{ signature }] },
    ...more,
  })

const fold = (...records: RunRecord[]): Conversation => {
  const [first, ...others] = records
  if (first === undefined) throw new Error('a run has records')
  return others.reduce<Conversation>(converse, converse(null, first))
}

/** The signatures that the next request sends back. */
const sentBack = (conversation: Conversation, omitted = 0): unknown[] =>
  messagesWithout(conversation, omitted).flatMap((message) =>
    message.role === 'assistant' && message.items ? message.items.items : [],
  )

describe('the items of a provider', () => {
  test('are sent back as they came', () => {
    const conversation = fold(created, usage(0), said('a'), usage(0), said('b'))
    expect(sentBack(conversation)).toEqual([{ signature: 'a' }, { signature: 'b' }])
  })

  test('are left out of the request if a part of them is masked or redacted, while the turn stays in it', () => {
    const conversation = fold(
      created,
      usage(0),
      said('[masked:openai-key]'),
      usage(0),
      said('[redacted]'),
      usage(0),
      said('c'),
    )
    expect(sentBack(conversation)).toEqual([{ signature: 'c' }])
    expect(
      messagesWithout(conversation, 0).filter(({ role }) => role === 'assistant'),
    ).toHaveLength(3)
  })

  test('are bound to the turns before them, so they are left out if the conversation begins otherwise', () => {
    const conversation = fold(
      created,
      usage(0),
      said('a'),
      usage(0),
      said('b'),
      usage(1),
      said('c'),
    )
    expect(sentBack(conversation, 1)).toEqual([{ signature: 'c' }])
    expect(sentBack(conversation, 2)).toEqual([])
  })

  test('are left out for good once the provider has refused them, and later ones are sent back', () => {
    const refused = record('llm_retry', {
      attempt: 1,
      reason: 'Bound.',
      delay_ms: 0,
      failure: 'reasoning_refused',
    })
    const conversation = fold(created, usage(0), said('a'), refused, usage(0), said('b'))
    expect(sentBack(conversation)).toEqual([{ signature: 'b' }])
  })
})

describe('the model reads', () => {
  test('the notice about its reply', () => {
    const conversation = fold(
      created,
      usage(0),
      said('a', { finish_reason: 'length', notice: 'Cut off.' }),
    )
    expect(messagesWithout(conversation, 0).at(-1)).toEqual({ role: 'user', content: 'Cut off.' })
  })

  test('no part of a reply in which it refused', () => {
    const conversation = fold(
      created,
      usage(0),
      said('a', { finish_reason: 'refusal', notice: 'Refused.' }),
    )
    expect(messagesWithout(conversation, 0)).not.toContainEqual(
      expect.objectContaining({ content: 'Turn a' }),
    )
  })

  test('a shorter conversation if the last one did not fit', () => {
    const long = { text: 'word '.repeat(400) }
    const turns = [usage(0), said('a', long), usage(0), said('b', long), usage(0), said('c', long)]
    const retry = record('llm_retry', {
      attempt: 1,
      reason: 'Too long.',
      delay_ms: 0,
      failure: 'context_overflow',
      context_tokens: 1_200,
    })
    expect(toMessages(fold(created, ...turns), 100_000).omittedTurns).toBe(0)
    expect(toMessages(fold(created, ...turns, retry), 100_000).omittedTurns).toBe(1)
  })
})
