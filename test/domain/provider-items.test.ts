import { describe, expect, test } from 'vitest'
import type { Conversation } from '../../src/domain/conversation.ts'
import type { PayloadOf } from '../../src/domain/records.ts'
import { messagesWithout, toMessages } from '../../src/domain/sent-messages.ts'
import { bare, conversationOf } from './support.ts'

const created = bare('run_created', {
  config: { goal: 'pytest', cwd: '/p' } as PayloadOf<'run_created'>['config'],
  system_prompt: 'Fix it.',
})
const usage = (omitted_turns = 0) =>
  bare('llm_usage', {
    input_tokens: 1,
    output_tokens: 1,
    cost_usd: null,
    model_name: 'm',
    duration_ms: 1,
    omitted_turns,
  })
const said = (signature: string, more: Partial<PayloadOf<'assistant_message'>> = {}) =>
  bare('assistant_message', {
    text: `Turn ${signature}`,
    tool_calls: [],
    finish_reason: 'stop',
    provider_items: { provider: 'anthropic', api: 'messages', model: 'c', items: [{ signature }] },
    ...more,
  })
const retry = (failure: PayloadOf<'llm_retry'>['failure'] & string, context_tokens = 0) =>
  bare('llm_retry', {
    attempt: 1,
    reason: 'No.',
    delay_ms: 0,
    failure,
    ...(context_tokens > 0 && { context_tokens }),
  })

/** A run in which the model said this, each after a request. */
const fold = (...records: ReturnType<typeof said | typeof usage | typeof retry>[]) =>
  conversationOf([created, ...records])

/** The signatures that the next request sends back. */
const sentBack = (conversation: Conversation, omitted = 0): unknown[] =>
  messagesWithout(conversation, omitted).flatMap((message) =>
    message.role === 'assistant' && message.items ? message.items.items : [],
  )

describe('the items of a provider', () => {
  test('are sent back as they came', () => {
    const conversation = fold(usage(), said('a'), usage(), said('b'))
    expect(sentBack(conversation)).toEqual([{ signature: 'a' }, { signature: 'b' }])
  })

  test('are left out of the request if a part of them is masked or redacted, while the turn stays in it', () => {
    const marked = ['[masked:openai-key]', '[redacted]', 'c']
    const conversation = fold(...marked.flatMap((signature) => [usage(), said(signature)]))
    expect(sentBack(conversation)).toEqual([{ signature: 'c' }])
    const roles = messagesWithout(conversation, 0).map(({ role }) => role)
    expect(roles.filter((role) => role === 'assistant')).toHaveLength(3)
  })

  test('are bound to the turns before them, so they are left out if the conversation begins otherwise', () => {
    const conversation = fold(usage(), said('a'), usage(), said('b'), usage(1), said('c'))
    expect(sentBack(conversation, 1)).toEqual([{ signature: 'c' }])
    expect(sentBack(conversation, 2)).toEqual([])
  })

  test('are left out for good once the provider has refused them, and later ones are sent back', () => {
    const conversation = fold(usage(), said('a'), retry('reasoning_refused'), usage(), said('b'))
    expect(sentBack(conversation)).toEqual([{ signature: 'b' }])
  })
})

describe('the model reads', () => {
  test('the notice about its reply, and no part of a reply in which it refused', () => {
    const read = (finish_reason: string, notice: string) =>
      messagesWithout(fold(usage(), said('a', { finish_reason, notice })), 0).slice(2)
    const notice = (content: string) => ({ role: 'user', content })
    expect(read('length', 'Cut off.')).toMatchObject([{ content: 'Turn a' }, notice('Cut off.')])
    expect(read('refusal', 'Refused.').at(-1)).toEqual(notice('Refused.'))
    expect(JSON.stringify(read('refusal', 'Refused.'))).not.toContain('Turn a')
  })

  test('a shorter conversation if the last one did not fit', () => {
    const long = { text: 'word '.repeat(400) }
    const turns = ['a', 'b', 'c'].flatMap((name) => [usage(), said(name, long)])
    const overflow = retry('context_overflow', 1_200)
    expect(toMessages(fold(...turns), 100_000).omittedTurns).toBe(0)
    expect(toMessages(fold(...turns, overflow), 100_000).omittedTurns).toBe(1)
  })
})
