import { isDeepStrictEqual } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { Api } from '../../../src/models/routing.ts'
import { STREAMS } from './streams.ts'
import { APIS, bytes, read, streamOf, type TestedApi, timeless } from './support.ts'

async function wholeReply(api: Api) {
  const { reply, parts } = await read(api, [bytes(STREAMS[api])])
  return { reply: timeless(reply._unsafeUnwrap()), parts }
}

/** Pieces of one byte divide a stream everywhere; a single division is tried at each 17th place. */
const STRIDE = 17

describe.each(APIS)('a reply over %s', (api) => {
  const all = bytes(STREAMS[api])

  test('is the same wherever its stream is divided', async () => {
    const whole = await wholeReply(api)
    const single = await read(
      api,
      Array.from(all, (byte) => Uint8Array.of(byte)),
    )
    expect(timeless(single.reply._unsafeUnwrap())).toEqual(whole.reply)
    for (let at = 1; at < all.length; at += STRIDE) {
      const { reply, parts } = await read(api, [all.slice(0, at), all.slice(at)])
      const divided = { reply: timeless(reply._unsafeUnwrap()), parts }
      // The matcher takes longer than the reply.
      if (!isDeepStrictEqual(divided, whole)) expect(divided, `divided at ${at}`).toEqual(whole)
    }
  })

  test('is a failed attempt wherever its stream ends too early', async () => {
    const whole = await wholeReply(api)
    const outcomes = new Set<string>()
    for (let at = 0; at < all.length; at += STRIDE) {
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
    expect(textOf('reasoning')).toMatch(/look|schaue|see|think/)
    const named = parts.flatMap((part) => (part.type === 'call' ? [part.tool] : []))
    expect(named).toEqual(reply.toolCalls.map(({ tool }) => tool))
    const [first] = reply.toolCalls
    const written = parts.flatMap((part) =>
      part.type === 'arguments' && part.index === 0 ? [part.text] : [],
    )
    expect(JSON.parse(written.join(''))).toMatchObject(first?.args ?? {})
  })
})

/** The whole replies that no package of a vendor can be asked to read. */
const WHOLE = {
  gemini: {
    text: 'I look at it.',
    toolCalls: [
      { call_id: 'c1', tool: 'file_read', args: { path: 'ä.py' } },
      { call_id: 'c2', tool: 'file_read', args: { path: 'b.py' } },
    ],
    provider: 'google',
    providerItems: {
      provider: 'google',
      api: 'gemini',
      model: 'gemini-3.8-flash',
      items: [
        { text: 'I think of ä 🚀.', thought: true },
        { text: 'I look at it.' },
        {
          functionCall: { id: 'c1', name: 'file_read', args: { path: 'ä.py' } },
          thoughtSignature: 'Cs+/==',
        },
        { functionCall: { id: 'c2', name: 'file_read', args: { path: 'b.py' } } },
        { text: '', thoughtSignature: 'Last==' },
      ],
    },
    usage: { inputTokens: 920, cachedTokens: 512, outputTokens: 100, reasoningTokens: 60 },
  },
  ollama: {
    text: 'I look at it.',
    // The ids are our own.
    toolCalls: [
      { call_id: 'call_0', tool: 'file_read', args: { path: 'ä.py' } },
      { call_id: 'call_1', tool: 'file_read', args: { path: 'b.py' } },
    ],
    providerItems: { api: 'ollama', items: [{ thinking: 'I think of ä 🚀.' }] },
    usage: { inputTokens: 300, cachedTokens: 200, outputTokens: 40 },
    costUsd: 0,
    priceSource: 'local',
  },
}

test.each(['gemini', 'ollama'] as const)(
  'a reply over %s has its parts as they came',
  async (api) => {
    const { reply } = await wholeReply(api)
    expect(reply).toMatchObject({ finishReason: 'tool_calls', ...WHOLE[api] })
  },
)

describe('the items of a reply are what the SDK of the provider makes of the same stream', () => {
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
  })

  test('of Messages', async () => {
    const client = new Anthropic({ apiKey: 'k', fetch: fakeFetch('messages') })
    const stream = client.messages.stream({ model: 'm', max_tokens: 9, messages: [] })
    const final = await stream.finalMessage()
    const { reply } = await wholeReply('messages')
    expect(reply.providerItems?.items).toEqual(JSON.parse(JSON.stringify(final.content)))
  })
})
