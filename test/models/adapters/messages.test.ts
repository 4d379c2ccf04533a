import type { MessageCreateParamsStreaming } from '@anthropic-ai/sdk/resources/messages'
import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import type { Effort, ModelRequest } from '../../../src/models/model.ts'
import { ADAPTERS, REQUEST, routeTo } from './support.ts'

const route = routeTo('messages')
const bodyFor = (changes: Partial<ModelRequest>, model = route.model) =>
  ADAPTERS.messages.body(
    { ...REQUEST, ...changes },
    { ...route, model },
  ) as MessageCreateParamsStreaming
const bodyOf = (messages: readonly ChatMessage[], model = route.model, effort?: Effort) =>
  bodyFor({ messages, ...(effort === undefined ? {} : { effort }) }, model)

const call = (id: string) => ({ id, tool: 'file_read', args: '{"path":"a.py"}' })
const said = (text: string, ...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: text,
  calls: ids.map(call),
})
const result = (callId: string): ChatMessage => ({ role: 'tool', callId, content: `of ${callId}` })
const user = (content: string): ChatMessage => ({ role: 'user', content })
const HEAD = REQUEST.messages

test('an empty text of a reply is not sent back', () => {
  const use = { type: 'tool_use', id: 'a', name: 'file_read', input: {} }
  const items = [{ type: 'text', text: '' }, use]
  const own = {
    ...said('', 'a'),
    items: { provider: 'anthropic', api: 'messages', model: route.model, items },
  }
  expect(bodyOf([...HEAD, own as ChatMessage, result('a')]).messages[1]?.content).toEqual([use])
})

describe('thinking', () => {
  test('by a budget is left out where the reply under way has no thoughts of this model', () => {
    const foreign = [...HEAD, said('', 'a'), result('a')]
    expect(bodyOf(foreign, 'claude-sonnet-4-5', 'low').thinking).toBeUndefined()
    expect(
      bodyOf([...foreign, said('Done.'), user('Continue.')], 'claude-sonnet-4-5', 'low').thinking,
    ).toBeDefined()
  })

  test('needs a limit on the reply, which is no more than the model allows', () => {
    expect(bodyOf(HEAD).max_tokens).toBe(32_000)
    expect(bodyOf(HEAD, 'claude-3-haiku-20240307').max_tokens).toBe(4_096)
    const wanted = bodyFor({ maxOutputTokens: 100_000 })
    expect(wanted.max_tokens).toBe(100_000)
  })
})
