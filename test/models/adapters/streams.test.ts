import { isDeepStrictEqual } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { Api } from '../../../src/models/routing.ts'
import { STREAMS } from './streams.ts'
import { APIS, bytes, read, streamOf, type TestedApi, timeless } from './support.ts'

async function wholeReply(api: Api) {
  const { reply, parts } = await read(api, [bytes(streamOver(api))])
  return { reply: timeless(reply._unsafeUnwrap()), parts }
}

/** Ollama sends lines. */
const OLLAMA = [
  { message: { role: 'assistant', content: '', thinking: 'I look' } },
  { message: { role: 'assistant', content: '', thinking: ' at ä 🚀.' } },
  { message: { role: 'assistant', content: 'I read' } },
  { message: { role: 'assistant', content: ' it.' } },
  {
    message: {
      ...{ role: 'assistant', content: '' },
      tool_calls: [{ function: { name: 'file_read', arguments: { path: 'ä.py' } } }],
    },
  },
  { message: { role: 'assistant', content: '' }, done: true, prompt_eval_count: 3, eval_count: 4 },
]
const streamOver = (api: Api): string =>
  api === 'ollama' ? OLLAMA.map((line) => `${JSON.stringify(line)}\n`).join('') : STREAMS[api]

/** Pieces of one byte divide a stream everywhere; a single division is tried at each 17th place. */
const STRIDE = 17

describe.each(APIS)('a reply over %s', (api) => {
  const all = bytes(streamOver(api))

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
