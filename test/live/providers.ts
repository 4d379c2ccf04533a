/**
 * A few requests to each provider whose key is set, for some cents each. RETRAI_LIVE_MODELS names other models than the
 * default ones, separated by commas. It was never run while retrAI was built: no provider could be reached there.
 */
import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../src/domain/conversation.ts'
import type { ModelReply, ModelRequest } from '../../src/models/model.ts'
import { createModels } from '../../src/models/models.ts'
import { KEY_VARIABLES, keyOf, PROVIDER_NAMES, PROVIDERS } from '../../src/models/providers.ts'
import { type ModelSettings, route } from '../../src/models/routing.ts'

const names = [...KEY_VARIABLES, 'OLLAMA_HOST']
const settings: ModelSettings = Object.fromEntries(names.map((name) => [name, process.env[name]]))
const models = createModels(settings)

function chosenModels(): string[] {
  const named = process.env.RETRAI_LIVE_MODELS?.split(',').map((name) => name.trim())
  if (named !== undefined) return named
  return PROVIDER_NAMES.flatMap((name) => {
    const { key, defaultModel } = PROVIDERS[name]
    if (key === null || defaultModel === null) {
      skip(name, 'RETRAI_LIVE_MODELS names no model of it')
      return []
    }
    if (keyOf(name, settings) !== undefined) return [defaultModel]
    skip(name, `${key} is not set`)
    return []
  })
}
const skip = (name: string, why: string) =>
  process.stderr.write(`*** SKIPPED: ${name}, because ${why}\n`)

const chosen = chosenModels()

const PATH = { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] }
const TOOL = {
  name: 'file_read',
  description: 'Reads a text file.',
  parameters: { ...PATH, additionalProperties: false },
}
const OPENING: readonly ChatMessage[] = [
  { role: 'system', content: 'You answer briefly. You read a file before you say what is in it.' },
  {
    role: 'user',
    content: 'Which number is in the file secret.txt? Read it, then say the number.',
  },
]
const NUMBER = '471123'

const request = (modelName: string, messages: readonly ChatMessage[]): ModelRequest => ({
  modelName,
  messages,
  tools: [TOOL],
  cacheKey: 'retrai-live',
  maxOutputTokens: 4_000,
})

async function ask(modelName: string, messages: readonly ChatMessage[]) {
  const parts: string[] = []
  const { signal } = new AbortController()
  const reply = await models.complete(request(modelName, messages), signal, ({ type }) => {
    parts.push(type)
  })
  if (reply.isErr()) throw new Error(JSON.stringify(reply.error))
  return { reply: reply.value, parts }
}

/** A reply as the conversation holds it, with the content of the file as the result of each call. */
function after({ text, toolCalls, providerItems }: ModelReply): ChatMessage[] {
  const calls = toolCalls.map(({ call_id: id, tool, args }) => ({
    id,
    tool,
    args: JSON.stringify(args),
  }))
  const items = providerItems === null ? {} : { items: providerItems }
  const result = ({ id }: { id: string }) => ({
    role: 'tool' as const,
    callId: id,
    content: NUMBER,
  })
  return [{ role: 'assistant', content: text, calls, ...items }, ...calls.map(result)]
}

test.skipIf(chosen.length > 0)('no key is set, so no provider is called', () => {})

describe.each(chosen)('%s', (model) => {
  test('calls a tool, reads its result with its own items before it, and answers', async () => {
    const first = await ask(model, OPENING)
    expect(first.reply.toolCalls).toMatchObject([
      { tool: 'file_read', args: { path: 'secret.txt' } },
    ])
    expect(first.parts).toContain('call')
    const second = await ask(model, [...OPENING, ...after(first.reply)])
    expect(second.reply.text).toContain(NUMBER)
    expect(second.reply.finishReason).toBe('stop')
    for (const { usage, provider } of [first.reply, second.reply]) {
      expect(usage.estimated).toBeUndefined()
      expect(usage.inputTokens).toBeGreaterThan(0)
      expect(provider).toBe(route(model, settings).endpoint.name)
    }
  })

  test('continues the conversation of another model', async () => {
    const calls = [{ id: 'toolu_01:x', tool: 'file_read', args: '{"path":"secret.txt"}' }]
    const foreign: ChatMessage[] = [
      { role: 'assistant', content: 'I read it.', calls },
      { role: 'tool', callId: 'toolu_01:x', content: NUMBER },
    ]
    const { reply } = await ask(model, [...OPENING, ...foreign])
    expect(reply.text).toContain(NUMBER)
  })

  test('can be aborted while it replies', async () => {
    const stop = new AbortController()
    const reply = await models.complete(request(model, OPENING), stop.signal, () => stop.abort())
    expect(reply._unsafeUnwrapErr()).toEqual({ type: 'cancelled' })
  })

  test('is refused under a name that does not exist', async () => {
    const reply = await models.complete(
      request(`${model}-gone`, OPENING),
      new AbortController().signal,
    )
    expect(reply._unsafeUnwrapErr().type).toBe('refused')
  })
})
