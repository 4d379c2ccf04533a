import type { Json } from '../../src/agent/model/adapter.ts'
import { type PricedTokens, priceOf } from '../../src/agent/model/prices.ts'
import type { Route } from '../../src/agent/model/routing.ts'
import { replyRecords } from '../../src/agent/model-outcome.ts'
import type { Conversation } from '../../src/domain/conversation.ts'
import { converse } from '../../src/domain/converse.ts'
import type { Kind, PayloadOf, RunRecord } from '../../src/domain/records.ts'
import { toMessages } from '../../src/domain/sent-messages.ts'
import { FAKES } from '../../test/agent/model/adapters/fake-providers.ts'
import { completeBy, REQUEST, routeTo } from '../../test/agent/model/adapters/support.ts'
import { must } from '../loop/must.ts'
import { table } from '../support/figures.ts'
import { atMost } from '../support/verdicts.ts'

const TURNS = 50
const ASKED = 0.25
/** About what a read file and the instructions of an agent have. */
const [OUTPUT_CHARS, PROMPT_CHARS] = [6_000, 8_000]
const CHARS_PER_TOKEN = 4

const ROUTES: readonly Route[] = [
  { ...routeTo('messages'), model: 'claude-opus-5-5' },
  { ...routeTo('responses'), model: 'gpt-5.6-sol' },
  { ...routeTo('chat', { baseUrl: 'https://api.deepseek.com' }), model: 'deepseek-v4-pro' },
  { ...routeTo('gemini'), model: 'gemini-3.8-flash' },
]

/** What a long run pays for its input, beside the price of the same input without a cache. */
export async function caching(): Promise<string> {
  const rows: string[][] = []
  for (const route of ROUTES) {
    const { paid, full } = await simulatedRun(route)
    const money = [full, paid].map((usd) => `$${usd.toFixed(2)}`)
    rows.push([route.model, ...money, ...atMost(paid / full, ASKED)])
  }
  return [
    `#### The input of a run of ${TURNS} turns`,
    '',
    table(['model', 'without a cache', 'paid', 'asked', 'measured', 'held'], rows),
    '',
    'The requests are those that the adapters send to the fake providers of the tests, which enforce the rules of the APIs. What a provider',
    'finds in its cache follows from its documented rules: for Anthropic, everything up to the marks of earlier requests; for the others,',
    'everything up to the first difference from the previous request. Prices are those of the price list. No vendor was called.',
  ].join('\n')
}

async function simulatedRun(
  route: Route,
): Promise<{ readonly paid: number; readonly full: number }> {
  const fake = FAKES[route.api]()
  const cache = route.api === 'messages' ? new MarkedCache() : new PrefixCache(route)
  let conversation = record(null, 'run_created', {
    config: { goal: 'pytest', cwd: '/p' } as PayloadOf<'run_created'>['config'],
    system_prompt: 'Fix it. '.repeat(PROMPT_CHARS / 8),
  })
  let [paid, full] = [0, 0]
  for (let turn = 0; turn < TURNS; turn += 1) {
    const planned = { text: 'I look.', calls: [{ path: `src/${turn}.ts` }], end: 'whole' } as const
    const respond = async (body: object) => {
      const sent = JSON.parse(JSON.stringify(body)) as Record<string, Json>
      const used = cache.take(sent)
      paid += usdOf(route, used)
      full += usdOf(route, { ...used, cachedInputTokens: 0, cacheWriteTokens: 0 })
      return fake.respond(sent, planned)
    }
    const { messages } = toMessages(conversation, 400_000)
    const complete = completeBy(route.api, respond, route)
    const reply = must(
      await complete({ ...REQUEST, messages }, new AbortController().signal, () => {}),
    )
    const sent = {
      modelName: route.model,
      durationMs: 1,
      omittedTurns: 0,
      keptTurns: turn,
      tokens: 0,
    }
    const { usage, message } = replyRecords(reply, sent)
    conversation = record(conversation, 'llm_usage', usage)
    conversation = record(conversation, 'assistant_message', message)
    for (const { call_id, tool } of message.tool_calls) {
      const output = `${turn} `.repeat(OUTPUT_CHARS / `${turn} `.length)
      conversation = record(conversation, 'tool_result', {
        ...{ call_id, tool, output, exit_code: 0, outcome: 'ok', duration_ms: 1 },
        ...{ bytes: output.length, truncated: false, sha256: null },
      })
    }
  }
  return { paid, full }
}

function record<K extends Kind>(
  conversation: Conversation | null,
  kind: K,
  payload: PayloadOf<K>,
): Conversation {
  const at = { run_id: '550e8400-e29b-41d4-a716-446655440000', iteration: 1, ts: 1 }
  return converse(conversation, { kind, payload, ...at } as unknown as RunRecord)
}

function usdOf(route: Route, tokens: PricedTokens): number {
  const price = priceOf(route, { ...tokens, outputTokens: 0 })
  if (price === null) throw new Error(`the price of ${route.model} is not known`)
  return price.usd
}

const tokensIn = (text: string): number => Math.floor(text.length / CHARS_PER_TOKEN)

/** A request in the order in which providers read it: tools, system, messages. */
function inOrder(body: Record<string, Json>): Json[] {
  const { tools = [], system = [], instructions = [], systemInstruction = [] } = body
  const said = body.messages ?? body.input ?? body.contents ?? []
  return [tools, system, instructions, systemInstruction, said].flat()
}

/** A cache that finds the longest common beginning of a request and the previous one. */
class PrefixCache {
  readonly #writes: boolean
  #last = ''

  /** OpenAI charges what is written to its cache from gpt-5.6 on; the others do not. */
  constructor({ api }: Route) {
    this.#writes = api === 'responses'
  }

  take(body: Record<string, Json>): PricedTokens {
    const text = inOrder(body)
      .map((part) => JSON.stringify(part))
      .join('')
    let same = 0
    while (same < text.length && text[same] === this.#last[same]) same += 1
    this.#last = text
    const inputTokens = tokensIn(text)
    const cached = tokensIn(text.slice(0, same))
    // Shorter beginnings are not kept.
    const cachedInputTokens = cached < 1_024 ? 0 : cached
    const cacheWriteTokens = this.#writes ? inputTokens - cachedInputTokens : 0
    return { inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens: 0 }
  }
}

/** How many blocks before a mark Anthropic looks for an earlier one. */
const LOOK_BACK_BLOCKS = 20

/** Anthropic's cache: it is written at marks, and read up to the marks of earlier requests. */
class MarkedCache {
  readonly #written = new Set<string>()

  take(body: Record<string, Json>): PricedTokens {
    const blocks = inOrder(body).flatMap((part) => contentOf(part))
    const ends: string[] = []
    let text = ''
    for (const block of blocks) {
      text += JSON.stringify(block, (name, value) => (name === 'cache_control' ? undefined : value))
      ends.push(text)
    }
    const marks = blocks.flatMap((block, at) => (isMarked(block) ? [at] : []))
    const found = marks.flatMap((mark) =>
      ends
        .slice(Math.max(0, mark - LOOK_BACK_BLOCKS), mark + 1)
        .filter((end) => this.#written.has(end)),
    )
    const cached = Math.max(0, ...found.map(tokensIn))
    const marked = Math.max(0, ...marks.map((mark) => tokensIn(ends[mark] ?? '')))
    for (const mark of marks) this.#written.add(ends[mark] ?? '')
    return {
      inputTokens: tokensIn(text),
      cachedInputTokens: cached,
      cacheWriteTokens: Math.max(0, marked - cached),
      outputTokens: 0,
    }
  }
}

function contentOf(part: Json): Json[] {
  if (typeof part !== 'object' || part === null || Array.isArray(part)) return [part]
  return Array.isArray(part.content) ? part.content : [part]
}

const isMarked = (block: Json): boolean =>
  typeof block === 'object' && block !== null && 'cache_control' in block
