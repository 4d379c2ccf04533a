import type { ChatCompletionCreateParamsStreaming } from 'openai/resources/chat/completions'
import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../src/domain/conversation.ts'
import { chatAdapter } from '../../src/models/adapters/chat.ts'
import type { ToolSpec } from '../../src/models/model.ts'
import { route } from '../../src/models/routing.ts'
import { REQUEST } from './support.ts'

const adapter = chatAdapter
const bodyOf = (messages: readonly ChatMessage[], modelName = 'gpt-5', tools: ToolSpec[] = []) =>
  adapter.body(
    { modelName, messages, tools },
    route(modelName, {}),
  ) as ChatCompletionCreateParamsStreaming

const calling = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: null,
  calls: ids.map((id) => ({ id, tool: 'file_read', args: '{"path":"a.py"}' })),
})
const result = (callId: string): ChatMessage => ({ role: 'tool', callId, content: 'x = 1' })

describe('a request', () => {
  test('lists tools only if there are any', () => {
    const parameters = { $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object' }
    const tool = { name: 'file_read', description: 'Reads a file.', parameters }
    expect(bodyOf(REQUEST.messages)).not.toHaveProperty('tools')
    const { $schema: _, ...schema } = parameters
    const described = { name: 'file_read', description: 'Reads a file.', parameters: schema }
    expect(bodyOf(REQUEST.messages, 'gpt-5', [tool]).tools).toEqual([
      { type: 'function', function: described },
    ])
  })

  test('sends every id once and in plain letters, even if turns repeat ids', () => {
    const turn = [calling('call:0', 'call:1'), result('call:0'), result('call:1')]
    const { messages } = bodyOf([...turn, ...turn])
    const called = messages.flatMap((message) =>
      message.role === 'assistant' ? (message.tool_calls ?? []).map(({ id }) => id) : [],
    )
    const answered = messages.flatMap((message) =>
      message.role === 'tool' ? [message.tool_call_id] : [],
    )
    expect(called).toEqual(['call_0', 'call_1', 'call_0_2', 'call_1_2'])
    expect(answered).toEqual(called)
  })

  test('sends no name that a provider would refuse', () => {
    const calls = [{ id: 'a', tool: `functions.read file:${'x'.repeat(99)}`, args: '{}' }]
    const [message] = bodyOf([{ role: 'assistant', content: null, calls }]).messages
    expect(JSON.stringify(message)).toMatch(/"name":"functions_read_file_x{44}"/)
  })

  test('sends no message without text', () => {
    const empty: ChatMessage[] = [
      { role: 'assistant', content: '', calls: [] },
      { role: 'tool', callId: 'a', content: '' },
    ]
    expect(bodyOf(empty).messages.map(({ content }) => content)).toEqual(['(nothing)', '(nothing)'])
  })
})
