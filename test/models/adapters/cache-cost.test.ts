import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import { HEAD } from './conversations.ts'
import { ADAPTERS, REQUEST, routeTo, type TestedApi } from './support.ts'

/** A block of a request: its text, and whether a cache mark is on it. */
type Block = { readonly text: string; readonly isMarked: boolean }

function blocksOf(body: Record<string, unknown>): Block[] {
  const list = (body.messages ?? body.input) as { content?: unknown }[]
  const system = (body.system ?? []) as object[]
  const inner = list.flatMap((message) =>
    Array.isArray(message.content) && body.system ? (message.content as object[]) : [message],
  )
  const head = { tools: body.tools, instructions: body.instructions }
  return [head, ...system, ...inner].map((block) => {
    const { cache_control, ...content } = block as { cache_control?: unknown }
    return { text: JSON.stringify(content), isMarked: cache_control !== undefined }
  })
}

const sizeOf = (blocks: readonly Block[]): number =>
  blocks.reduce((sum, { text }) => sum + text.length, 0)
const hash = (blocks: readonly Block[]): string => blocks.map(({ text }) => text).join('\n')

/** Anthropic writes where a mark is, and reads what was written at most 20 blocks before a mark. */
class MarkedCache {
  readonly #written = new Set<string>()

  /** How many of the first blocks are read from the cache, and up to where it is written. */
  request(blocks: readonly Block[]): { readonly read: number; readonly written: number } {
    const marks = blocks.flatMap(({ isMarked }, at) => (isMarked ? [at + 1] : []))
    const found = marks.flatMap((mark) =>
      Array.from({ length: 20 }, (_, back) => mark - back).filter((end) =>
        this.#written.has(hash(blocks.slice(0, end))),
      ),
    )
    for (const mark of marks) this.#written.add(hash(blocks.slice(0, mark)))
    return { read: Math.max(0, ...found), written: Math.max(0, ...marks) }
  }
}

/** The others read the longest beginning that they have seen. */
class PrefixCache {
  #last: readonly Block[] = []

  request(blocks: readonly Block[]): { readonly read: number; readonly written: number } {
    const differs = blocks.findIndex(({ text }, at) => text !== this.#last[at]?.text)
    this.#last = blocks
    return { read: differs === -1 ? blocks.length : differs, written: blocks.length }
  }
}

const READ = 0.1
const WRITE = 1.25

/** A turn with this many calls, whose results are far longer than the calls. */
function turn(n: number, calls: number): ChatMessage[] {
  const ids = Array.from({ length: calls }, (_, index) => `call_${n}_${index}`)
  return [
    {
      role: 'assistant',
      content: `Step ${n}.`,
      calls: ids.map((id) => ({ id, tool: 'file_read', args: '{"path":"a.py"}' })),
    },
    ...ids.map(
      (callId): ChatMessage => ({
        role: 'tool',
        callId,
        content: `line ${n}\n`.repeat(120 / calls),
      }),
    ),
  ]
}

/** What a run of 50 turns pays for its input, as a share of the price without a cache. */
function shareOf(api: TestedApi, callsInTurn: (n: number) => number): number {
  const cache = api === 'messages' ? new MarkedCache() : new PrefixCache()
  const messages: ChatMessage[] = [...HEAD]
  let [paid, plain] = [0, 0]
  for (let n = 0; n < 50; n += 1) {
    const body = ADAPTERS[api].body({ ...REQUEST, messages, cacheKey: 'r' }, routeTo(api))
    const blocks = blocksOf(JSON.parse(JSON.stringify(body)))
    const { read, written } = cache.request(blocks)
    const end = Math.max(read, written)
    paid +=
      READ * sizeOf(blocks.slice(0, read)) +
      WRITE * sizeOf(blocks.slice(read, end)) +
      sizeOf(blocks.slice(end))
    plain += sizeOf(blocks)
    messages.push(...turn(n, callsInTurn(n)))
  }
  return paid / plain
}

describe.each<TestedApi>(['messages', 'responses', 'chat'])('a run of 50 turns over %s', (api) => {
  test('pays less than a quarter of what it would pay without a cache', () => {
    expect(shareOf(api, () => 1)).toBeLessThan(0.25)
  })

  test('pays as little if many calls are made at once', () => {
    expect(shareOf(api, (n) => (n % 5 === 0 ? 30 : 2))).toBeLessThan(0.25)
  })
})
