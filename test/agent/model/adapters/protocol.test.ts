import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Complete } from '../../../../src/agent/model/complete.ts'
import type { Route } from '../../../../src/agent/model/routing.ts'
import { afterFailure, replyRecords } from '../../../../src/agent/model-outcome.ts'
import {
  type Conversation,
  converse,
  tokensOf,
  toMessages,
  turnCount,
} from '../../../../src/domain/conversation.ts'
import type { Kind, PayloadOf, RunRecord } from '../../../../src/domain/records.ts'
import { FAKES, type FakeProvider, type Planned } from './fake-providers.ts'
import { completeBy, REQUEST, routeTo, type TestedApi } from './support.ts'

/** What happens in one step of a run. */
type Step = {
  readonly planned: Planned
  /** The model of the run from now on: an API, and one of two models there. */
  readonly model: readonly [api: TestedApi, first: boolean] | null
  /** How much of the conversation is sent, in tokens. */
  readonly budget: number
  /** The connection breaks in the middle of the reply, so the step is repeated. */
  readonly isCut: boolean
  /** The text of this earlier reply is redacted, and the run is folded again. */
  readonly redacted: number | null
  readonly feedback: string
}

const text = fc.constantFrom('', 'I look.', 'Ich öffne 🚀', 'word '.repeat(60))
const step: fc.Arbitrary<Step> = fc.record({
  planned: fc.record({
    text,
    calls: fc.array(fc.record({ path: text }), { maxLength: 3 }),
    end: fc.constantFrom('whole', 'whole', 'whole', 'cut', 'refused', 'paused', 'empty'),
  }),
  model: fc.option(
    fc.tuple(fc.constantFrom<TestedApi>('chat', 'responses', 'messages'), fc.boolean()),
    { freq: 3 },
  ),
  budget: fc.constantFrom(100_000, 100_000, 100_000, 400, 150),
  isCut: fc.boolean(),
  redacted: fc.option(fc.nat({ max: 5 }), { freq: 2 }),
  feedback: fc.constantFrom('Not reached yet.', 'The goal was checked.'),
})

const MODELS = {
  chat: ['deepseek-v4-pro', 'deepseek-v4-flash'],
  responses: ['gpt-5.2', 'gpt-5.6-sol'],
  messages: ['claude-opus-5-5', 'claude-sonnet-5-5'],
} as const

const routeOf = ([api, isFirst]: readonly [TestedApi, boolean]): Route => ({
  ...routeTo(api, api === 'chat' ? { baseUrl: 'https://api.deepseek.com' } : {}),
  model: MODELS[api][isFirst ? 0 : 1],
})

/** A run against fake providers, as its records. */
class FakeRun {
  #records: RunRecord[] = []
  #conversation: Conversation | null = null
  #redactions = 0
  readonly #fakes = new Map<TestedApi, FakeProvider>()
  #planned: Planned | null = null

  constructor() {
    const config = { goal: 'pytest', cwd: '/p' } as PayloadOf<'run_created'>['config']
    this.#add('run_created', { config, system_prompt: 'Fix it.' })
  }

  async take({ planned, budget, isCut, redacted, feedback }: Step, route: Route): Promise<void> {
    if (redacted !== null) this.#redact(redacted)
    this.#planned = planned
    if (isCut) await this.#attempt(route, budget, (response) => cutOff(response))
    let refusals = 0
    for (;;) {
      const failure = await this.#attempt(route, budget, async (response) => response)
      if (failure === null) break
      // Only a redaction changes what was sent before, and then the provider refuses once.
      expect(failure).toMatchObject({ type: 'reasoning_refused' })
      refusals += 1
      expect(refusals).toBeLessThanOrEqual(this.#redactions > 0 ? 1 : 0)
    }
    this.#add('goal_check', { achieved: false, reason: feedback, details: '', duration_ms: 1 })
  }

  async #attempt(
    route: Route,
    budget: number,
    change: (response: Response) => Promise<Response>,
  ): Promise<object | null> {
    const conversation = this.#conversation
    if (conversation === null) throw new Error('the run has begun')
    const { messages, omittedTurns } = toMessages(conversation, budget)
    const complete = this.#complete(route, change)
    const request = { ...REQUEST, messages }
    const reply = await complete(request, new AbortController().signal, () => {})
    const sent = {
      modelName: route.model,
      durationMs: 1,
      omittedTurns,
      keptTurns: turnCount(conversation) - omittedTurns,
      tokens: tokensOf(messages),
    }
    if (reply.isErr()) {
      const { error } = reply
      if (error.type === 'cancelled') throw new Error('nobody aborts')
      const next = afterFailure(error, { failures: 0, attempts: 9, retryMs: [0, 0], sent })
      if (next.type === 'fail') throw new Error(next.message)
      const { reason, delayMs: delay_ms, failure = 'refused' } = next
      this.#add('llm_retry', { attempt: 1, reason, delay_ms, failure })
      return error.type === 'transient' && error.kind === 'broken_off' ? null : error
    }
    const { usage, message } = replyRecords(reply.value, sent)
    this.#add('llm_usage', usage)
    this.#add('assistant_message', message)
    for (const { call_id, tool } of message.tool_calls) {
      const result = {
        call_id,
        tool,
        output: `of ${call_id}`,
        exit_code: 0,
        outcome: 'ok' as const,
      }
      this.#add('tool_result', {
        ...result,
        duration_ms: 1,
        bytes: 1,
        truncated: false,
        sha256: null,
      })
    }
    return null
  }

  #complete(route: Route, change: (response: Response) => Promise<Response>): Complete {
    const api = route.api as TestedApi
    const fake = this.#fakes.get(api) ?? FAKES[api]()
    this.#fakes.set(api, fake)
    const respond = (body: object) => {
      if (this.#planned === null) throw new Error('no reply is planned')
      const asSent = JSON.parse(JSON.stringify(body))
      return change(fake.respond(asSent, this.#planned))
    }
    return completeBy(api, respond, route)
  }

  #redact(which: number): void {
    const replies = this.#records.filter(({ kind }) => kind === 'assistant_message')
    const chosen = replies[which]
    if (chosen?.kind !== 'assistant_message' || !chosen.payload.text) return
    const { text } = chosen.payload
    const changed = JSON.stringify(this.#records).replaceAll(JSON.stringify(text), '"[redacted]"')
    this.#redactions += 1
    this.#records = JSON.parse(changed)
    this.#conversation = null
    for (const record of this.#records) this.#conversation = converse(this.#conversation, record)
  }

  #add<K extends Kind>(kind: K, payload: PayloadOf<K>): void {
    const record = { kind, run_id: 'r', iteration: 1, ts: 1, payload } as RunRecord
    // As a store would return it.
    const stored: RunRecord = JSON.parse(JSON.stringify(record))
    this.#records.push(stored)
    this.#conversation = converse(this.#conversation, stored)
  }
}

/** The first half of a response. */
async function cutOff(response: Response): Promise<Response> {
  const all = new Uint8Array(await response.arrayBuffer())
  const half = response.ok ? all.slice(0, all.length / 2) : all
  return new Response(half, response)
}

test('whatever happens in a run, no provider has a reason to refuse a request of it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
      const run = new FakeRun()
      let model: readonly [TestedApi, boolean] = ['messages', true]
      for (const step of steps) {
        model = step.model ?? model
        await run.take(step, routeOf(model))
      }
    }),
    { numRuns: 150 },
  )
})
