import { isDeepStrictEqual } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { STREAMS } from './streams.ts'
import { bytes, read, streamOf, type TestedApi, timeless } from './support.ts'

const APIS: readonly TestedApi[] = ['chat', 'responses', 'messages']

async function wholeReply(api: TestedApi) {
  const { reply, parts } = await read(api, [bytes(STREAMS[api])])
  return { reply: timeless(reply._unsafeUnwrap()), parts }
}

describe.each(APIS)('a reply over %s', (api) => {
  const all = bytes(STREAMS[api])

  test('is the same wherever its stream is divided', async () => {
    const whole = await wholeReply(api)
    for (let at = 1; at < all.length; at += 1) {
      const { reply, parts } = await read(api, [all.slice(0, at), all.slice(at)])
      const divided = { reply: timeless(reply._unsafeUnwrap()), parts }
      // The matcher takes longer than the reply.
      if (!isDeepStrictEqual(divided, whole)) expect(divided, `divided at ${at}`).toEqual(whole)
    }
  })

  test('is a failed attempt wherever its stream ends too early', async () => {
    const whole = await wholeReply(api)
    const outcomes = new Set<string>()
    for (let at = 0; at < all.length; at += 1) {
      const { reply } = await read(api, [all.slice(0, at)])
      if (reply.isErr()) {
        expect(reply.error.type).toBe('transient')
        outcomes.add('failed')
        continue
      }
      // Only what follows the last piece of the reply itself may be missing: its usage, and the end mark.
      const { text, toolCalls, finishReason, providerItems } = reply.value
      expect(whole.reply).toMatchObject({ text, toolCalls, finishReason, providerItems })
      outcomes.add('whole')
    }
    expect(outcomes).toContain('failed')
  })

  test('comes in parts that are in order and add up to it', async () => {
    const { reply, parts } = await wholeReply(api)
    const textOf = (type: 'text' | 'reasoning') =>
      parts.flatMap((part) => (part.type === type ? [part.text] : [])).join('')
    expect(textOf('text')).toBe(reply.text)
    expect(textOf('reasoning')).toMatch(/look|schaue|see/)
    const named = parts.flatMap((part) => (part.type === 'call' ? [part.tool] : []))
    expect(named).toEqual(reply.toolCalls.map(({ tool }) => tool))
    const [first] = reply.toolCalls
    const written = parts.flatMap((part) =>
      part.type === 'arguments' && part.index === 0 ? [part.text] : [],
    )
    expect(JSON.parse(written.join(''))).toMatchObject(first?.args ?? {})
  })
})

describe('a reply equals what the SDK of the provider makes of the same stream', () => {
  const fakeFetch = (api: TestedApi) => async () => streamOf([bytes(STREAMS[api])])

  test('of Responses', async () => {
    const client = new OpenAI({ apiKey: 'k', fetch: fakeFetch('responses') })
    const stream = client.responses.stream({ model: 'gpt-5.2', input: 'x' })
    const final = await stream.finalResponse()
    const { reply } = await wholeReply('responses')
    const own = (item: object) =>
      Object.fromEntries(Object.entries(item).filter(([name]) => !name.startsWith('parsed')))
    expect(reply.providerItems?.items).toEqual(
      final.output.map((item) => {
        const kept = own(item)
        return 'content' in item && Array.isArray(item.content)
          ? { ...kept, content: item.content.map(own) }
          : kept
      }),
    )
    expect(reply.text).toBe(final.output_text)
    expect(reply.usage).toEqual({
      inputTokens: final.usage?.input_tokens,
      outputTokens: final.usage?.output_tokens,
      cachedTokens: final.usage?.input_tokens_details.cached_tokens,
      cacheWriteTokens: 700,
      longCacheWriteTokens: null,
      reasoningTokens: final.usage?.output_tokens_details.reasoning_tokens,
    })
  })

  test('of Messages', async () => {
    const client = new Anthropic({ apiKey: 'k', fetch: fakeFetch('messages') })
    const stream = client.messages.stream({ model: 'm', max_tokens: 9, messages: [] })
    const final = await stream.finalMessage()
    const { reply } = await wholeReply('messages')
    expect(reply.providerItems?.items).toEqual(JSON.parse(JSON.stringify(final.content)))
    expect(reply.toolCalls.map(({ call_id, args }) => [call_id, args])).toEqual(
      final.content.flatMap((block) =>
        block.type === 'tool_use' ? [[block.id, block.input]] : [],
      ),
    )
    const { usage } = final
    expect(reply.usage).toEqual({
      inputTokens:
        usage.input_tokens +
        (usage.cache_read_input_tokens ?? 0) +
        (usage.cache_creation_input_tokens ?? 0),
      outputTokens: usage.output_tokens,
      cachedTokens: usage.cache_read_input_tokens,
      cacheWriteTokens: usage.cache_creation_input_tokens,
      longCacheWriteTokens: 0,
      reasoningTokens: 300,
    })
  })

  test('of chat completions, apart from the reasoning, of which the SDK keeps only the last piece', async () => {
    const client = new OpenAI({ apiKey: 'k', fetch: fakeFetch('chat') })
    const final = await client.chat.completions
      .stream({ model: 'm', messages: [], stream_options: { include_usage: true } })
      .finalChatCompletion()
    const { reply } = await wholeReply('chat')
    const [choice] = final.choices
    expect(reply.text).toBe(choice?.message.content)
    expect(reply.toolCalls.map(({ call_id, tool, args }) => [call_id, tool, args])).toEqual(
      choice?.message.tool_calls?.map((call) =>
        call.type === 'function'
          ? [call.id, call.function.name, JSON.parse(call.function.arguments)]
          : [],
      ),
    )
    expect(reply.usage.inputTokens).toBe(final.usage?.prompt_tokens)
    expect(reply.usage.reasoningTokens).toBe(640)
    expect(reply.providerItems?.items).toEqual([
      {
        reasoning_content: 'Let me see – naïve.',
        tool_calls: [{ index: 0, extra_content: { google: { thought_signature: 'Cs4BAQ==' } } }],
      },
    ])
  })
})
