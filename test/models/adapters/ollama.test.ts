import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import type { ModelRequest } from '../../../src/models/model.ts'
import { sent } from './streams.ts'
import { ADAPTERS, askBy, bytes, fakeServer, REQUEST, read, routeTo } from './support.ts'

const route = routeTo('ollama')

describe('a call that Ollama cannot read', () => {
  const error = `error parsing tool call: raw='{"path": "a"}]', err=invalid character ']'`
  const malformed = { finishReason: 'malformed', text: null, toolCalls: [], providerItems: null }

  test('is a malformed reply of the model, with status 500', async () => {
    const url = await fakeServer(() => ({ status: 500, text: JSON.stringify({ error }) }))
    const { reply } = await askBy(ADAPTERS.ollama, routeTo('ollama', { baseUrl: url }))
    expect(reply._unsafeUnwrap()).toMatchObject({ ...malformed, usage: { estimated: true } })
  })

  test('is one in the middle of a stream, too', async () => {
    const begun = { message: { role: 'assistant', content: 'I write.' }, done: false }
    const { reply } = await read('ollama', [bytes(sent('ollama', [begun, { error }]))])
    expect(reply._unsafeUnwrap()).toMatchObject(malformed)
  })
})

type Body = {
  readonly options: object
  readonly messages: readonly object[]
}
const bodyOf = (changes: Partial<ModelRequest> = {}, target = route) =>
  ADAPTERS.ollama.body({ ...REQUEST, ...changes }, target) as Body

describe('a request to Ollama', () => {
  test('asks for a context window, because the default of Ollama cuts prompts', () => {
    expect(bodyOf().options).toEqual({ num_ctx: 65_536 })
    const served = { windowTokens: 8_192, capabilities: null }
    expect(bodyOf({}, { ...route, served }).options).toEqual({ num_ctx: 8_192 })
    const own = { prices: undefined, windowTokens: 16_384, maxOutputTokens: undefined }
    expect(bodyOf({ maxOutputTokens: 4_000 }, { ...route, own }).options).toEqual({
      num_ctx: 16_384,
      num_predict: 4_000,
    })
  })

  test('has no think for a model that cannot think', () => {
    const served = { windowTokens: null, capabilities: ['tools'] }
    expect(bodyOf({ effort: 'high' }, { ...route, served })).not.toHaveProperty('think')
  })

  test('has the thoughts of the same model, and of no other', () => {
    const items = {
      provider: 'ollama',
      api: 'ollama',
      model: 'qwen3:8b',
      items: [{ thinking: 'Hm.' }],
    }
    const own: ChatMessage = { role: 'assistant', content: 'Done.', calls: [], items }
    const messages = [...REQUEST.messages, own]
    expect(bodyOf({ messages }).messages[2]).toMatchObject({ thinking: 'Hm.' })
    expect(
      bodyOf({ messages }, routeTo('ollama', { model: 'other' })).messages[2],
    ).not.toHaveProperty('thinking')
  })
})
