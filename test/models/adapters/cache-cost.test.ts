import { expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import { ADAPTERS, REQUEST, routeTo } from './support.ts'

/** A block of a request: its text, and whether a cache mark is on it. */
type Block = { readonly text: string; readonly isMarked: boolean }

function blocksOf({ tools, system, messages }: Record<string, unknown>): Block[] {
  const inner = (messages as { content: object[] }[]).flatMap(({ content }) => content)
  return [{ tools }, ...(system as object[]), ...inner].map((block) => {
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
function shareOf(callsInTurn: (n: number) => number): number {
  const cache = new MarkedCache()
  const messages: ChatMessage[] = [...REQUEST.messages]
  let paid = 0
  let plain = 0
  for (let n = 0; n < 50; n += 1) {
    const body = ADAPTERS.messages.body(
      { ...REQUEST, messages, cacheKey: 'r' },
      routeTo('messages'),
    )
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

/** For the others, a request need only begin with the one before it: `protocol.test.ts`. */
test.each([
  ['one call in each turn', () => 1],
  ['many calls at once', (n: number) => (n % 5 === 0 ? 30 : 2)],
])(
  'a run of 50 turns over Messages with %s pays less than a quarter of what it would pay without a cache',
  (_, callsInTurn) => {
    expect(shareOf(callsInTurn)).toBeLessThan(0.25)
  },
)
