import fc from 'fast-check'
import { err, ok, type Result } from 'neverthrow'
import { expect, test } from 'vitest'
import { afterFailure, messageOf, usageOf } from '../../../src/agent/run/model-outcome.ts'
import { allMessages, type Conversation, turnCount } from '../../../src/domain/conversation.ts'
import { converse } from '../../../src/domain/converse.ts'
import type { Kind, PayloadOf, RunRecord } from '../../../src/domain/records.ts'
import { toMessages } from '../../../src/domain/sent-messages.ts'
import { tokensOf } from '../../../src/domain/turn-messages.ts'
import type { ModelFailure, ModelReply } from '../../../src/models/model.ts'
import type { Api, Route } from '../../../src/models/routing.ts'
import { complaintsAbout } from '../schemas/schemas.ts'
import type { FakeProvider, Json, Planned } from './fake-provider.ts'
import { FAKES } from './fake-providers.ts'
import { APIS, completeBy, REQUEST, routeTo } from './support.ts'

type Sent = Parameters<typeof messageOf>[1] & { readonly userMessages: number }

/** What happens in one step of a run. */
type Step = {
  readonly planned: Planned
  /** The model of the run from now on: an API, and one of two models there. */
  readonly model: readonly [api: Api, first: boolean] | null
  /** How much of the conversation is sent, in tokens. */
  readonly budget: number
  /**
   * What happens to the first attempt, so that the step is repeated: the connection breaks in the middle of the reply,
   * the run is aborted there, or the process ends after the reply and before it is recorded.
   */
  readonly first: 'cut' | 'aborted' | 'crashed' | null
  /** How the calls end: some are under way when a process ends, so nobody knows what they did. */
  readonly outcome: PayloadOf<'tool_result'>['outcome']
  /** Whether the results hold an image. */
  readonly isImage: boolean
  /** Calls that run at the same time end in any order. */
  readonly isReversed: boolean
  /** A person says this while the calls run. */
  readonly said: string | null
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
  model: fc.option(fc.tuple(fc.constantFrom(...APIS), fc.boolean()), { freq: 3 }),
  budget: fc.constantFrom(100_000, 100_000, 100_000, 400, 150),
  first: fc.constantFrom(null, null, 'cut', 'aborted', 'crashed'),
  outcome: fc.constantFrom('ok', 'ok', 'error', 'timed_out', 'unknown'),
  isImage: fc.boolean(),
  isReversed: fc.boolean(),
  said: fc.option(text, { freq: 3 }),
  redacted: fc.option(fc.nat({ max: 5 }), { freq: 2 }),
  feedback: fc.constantFrom('Not reached yet.', 'The goal was checked.'),
})

const MODELS = {
  chat: ['deepseek-v4-pro', 'deepseek-v4-flash'],
  responses: ['gpt-5.2', 'gpt-5.6-sol'],
  messages: ['claude-opus-5-5', 'claude-sonnet-5-5'],
  gemini: ['gemini-3.8-flash', 'gemini-3.1-pro-preview'],
  ollama: ['qwen3:8b', 'gpt-oss:20b'],
} as const

const routeOf = ([api, isFirst]: readonly [Api, boolean]): Route => ({
  ...routeTo(api, api === 'chat' ? { baseUrl: 'https://api.deepseek.com' } : {}),
  model: MODELS[api][isFirst ? 0 : 1],
})

const PIXEL = { image: { media_type: 'image/png', width: 1, height: 1 } } as const

const DATA =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='

/** A body without its cache marks, which no provider counts as a part of the text. */
const unmarked = (body: object): Json =>
  JSON.parse(JSON.stringify(body, (name, value) => (name === 'cache_control' ? undefined : value)))

/** The messages of a request, and all else in it. */
function parted({ messages, input, contents, ...rest }: Json) {
  return { messages: (messages ?? input ?? contents) as unknown[], rest }
}

/** A run against fake providers, as its records. */
class FakeRun {
  #records: RunRecord[] = []
  #conversation: Conversation | null = null
  #redactions = 0
  readonly #fakes: Map<Api, FakeProvider>
  /** The conversation that it begins from. */
  readonly #before: Conversation | null
  /** What was sent, each with how many records the run had. */
  readonly bodies: { readonly body: Json; readonly records: number }[] = []
  /** The last request, and on what it depends beside the conversation. */
  #last = { of: '', body: { messages: [] as unknown[], rest: {} } }

  constructor(before: Conversation | null = null, fakes = new Map<Api, FakeProvider>()) {
    this.#before = before
    this.#fakes = fakes
    const config = { goal: 'pytest', cwd: '/p' } as PayloadOf<'run_created'>['config']
    this.#conversation = before
    this.#add('run_created', { config, system_prompt: 'Fix it.', instructions: 'Otherwise.' })
  }

  get length(): number {
    return this.#records.length
  }

  /** A run that begins from the first of its records. */
  fork(records: number): FakeRun {
    return new FakeRun(this.#folded(this.#records.slice(0, records)), this.#fakes)
  }

  async take(step: Step, route: Route): Promise<void> {
    if (step.redacted !== null) this.#redact(step.redacted)
    if (step.first !== null) await this.#interrupted(step, route)
    let refusals = 0
    for (;;) {
      const reply = await this.#attempt(step, route)
      if (reply.isOk()) {
        this.#record(step, reply.value)
        break
      }
      // Only a redaction changes earlier messages, and then the provider refuses once.
      expect(reply.error).toMatchObject({ type: 'reasoning_refused' })
      refusals += 1
      expect(refusals).toBeLessThanOrEqual(this.#redactions > 0 ? 1 : 0)
    }
    const verdict = { achieved: false, reason: step.feedback, details: '', duration_ms: 1 }
    this.#add('goal_check', verdict)
  }

  /** An attempt whose reply is never recorded. The next one is made by the process that takes up the run. */
  async #interrupted(step: Step, route: Route): Promise<void> {
    const stop = new AbortController()
    const change = {
      cut: cutOff,
      aborted: (response: Response) => hanging(response, () => stop.abort()),
      crashed: async (response: Response) => response,
    }[step.first ?? 'crashed']
    const reply = await this.#attempt(step, route, change, stop.signal)
    if (reply.isErr() && reply.error.type !== 'reasoning_refused') {
      const expected = step.first === 'cut' ? 'transient' : 'cancelled'
      expect(reply.error.type).toBe(expected)
    }
    this.#fold()
  }

  async #attempt(
    step: Step,
    route: Route,
    change = async (response: Response) => response,
    signal = new AbortController().signal,
  ): Promise<Result<{ reply: ModelReply; sent: Sent }, ModelFailure>> {
    const conversation = this.#conversation
    if (conversation === null) throw new Error('the run has begun')
    const { messages: bare, omittedTurns } = toMessages(conversation, step.budget)
    const messages = bare.map((one) =>
      one.role === 'tool' && one.image ? { ...one, image: { ...one.image, data: DATA } } : one,
    )
    const refusals = this.#records.filter(
      ({ payload }) => Object(payload).failure === 'reasoning_refused',
    )
    const of = JSON.stringify([route.model, omittedTurns, this.#redactions, refusals.length])
    const respond = (body: object) => {
      expect(complaintsAbout(route.api, body)).toEqual([])
      this.#comesAfter(of, parted(unmarked(body)))
      this.bodies.push({ body: JSON.parse(JSON.stringify(body)), records: this.length })
      const fake = this.#fakes.get(route.api) ?? FAKES[route.api]()
      this.#fakes.set(route.api, fake)
      return change(fake.respond(JSON.parse(JSON.stringify(body)), step.planned))
    }
    const complete = completeBy(route.api, respond, route)
    const reply = await complete({ ...REQUEST, messages }, signal, () => {})
    const asked = {
      modelName: route.model,
      durationMs: 1,
      omittedTurns,
      keptTurns: turnCount(conversation) - omittedTurns,
      tokens: tokensOf(messages),
    }
    const userMessages = allMessages(conversation)
    const sent = { ...asked, usage: usageOf(reply, asked), userMessages }
    if (reply.isOk()) return ok({ reply: reply.value, sent })
    const { error } = reply
    if (error.type === 'cancelled') return err(error)
    const next = afterFailure(error, {
      failures: 0,
      invalidReplies: 0,
      attempts: 9,
      retryMs: [0, 0],
      leftMs: 0,
      patienceMs: 0,
      fallback: null,
      sent,
    })
    if (next.type !== 'record_retry') throw new Error(next.type)
    const { reason, delayMs: delay_ms, failure = 'refused' } = next
    this.#add('llm_retry', { attempt: 1, reason, delay_ms, failure })
    return err(error)
  }

  /** Providers cache and sign what comes first: a request begins with the same text as the one before it. */
  #comesAfter(of: string, body: ReturnType<typeof parted>): void {
    const before = of === this.#last.of ? this.#last.body : null
    this.#last = { of, body }
    if (before === null) return
    const text = JSON.stringify(body.messages)
    expect(text.startsWith(JSON.stringify(before.messages).slice(0, -1))).toBe(true)
    expect(JSON.stringify(body.rest)).toBe(JSON.stringify(before.rest))
  }

  #record(
    { outcome, said, isImage, isReversed }: Step,
    { reply, sent }: { reply: ModelReply; sent: Sent },
  ): void {
    const message = messageOf(reply, sent, sent.userMessages)
    if (sent.usage !== null) this.#add('llm_usage', sent.usage)
    this.#add('assistant_message', message)
    if (said !== null) this.#add('user_message', { text: said })
    const calls = message.tool_calls
    for (const { call_id, tool, args } of isReversed ? calls.toReversed() : calls) {
      const result = { call_id, tool, output: `of ${args.path}`, exit_code: 0, outcome }
      const sha256 = isImage ? 'a'.repeat(64) : null
      const rest = { duration_ms: 1, bytes: 1, truncated: false, sha256, ...(isImage && PIXEL) }
      this.#add('tool_result', { ...result, ...rest })
    }
  }

  #redact(which: number): void {
    const replies = this.#records.filter(({ kind }) => kind === 'assistant_message')
    const chosen = replies[which]
    if (chosen?.kind !== 'assistant_message' || !chosen.payload.text) return
    const { text } = chosen.payload
    const changed = JSON.stringify(this.#records).replaceAll(JSON.stringify(text), '"[redacted]"')
    this.#redactions += 1
    this.#records = JSON.parse(changed)
    this.#fold()
  }

  /** Folds the run from its records, as a process that takes it up does. */
  #fold(): void {
    this.#conversation = this.#folded(this.#records)
  }

  #folded(records: readonly RunRecord[]): Conversation | null {
    return records.reduce<Conversation | null>(converse, this.#before)
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

/** The first half of a response, after which nothing comes. @param onSilence called when it is waited for */
async function hanging(response: Response, onSilence: () => void): Promise<Response> {
  if (!response.ok) return response
  const half = new Uint8Array(await (await cutOff(response)).arrayBuffer())
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(half),
    pull: onSilence,
  })
  return new Response(body, response)
}

test('whatever happens in a run, its requests break no rule of any provider', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
      const run = new FakeRun()
      let model: readonly [Api, boolean] = ['messages', true]
      for (const step of steps) {
        model = step.model ?? model
        await run.take(step, routeOf(model))
      }
    }),
    { numRuns: 100 },
  )
})

const WHOLE: Step = {
  planned: { text: 'I look.', calls: [{ path: 'a.py' }, { path: 'b.py' }], end: 'whole' },
  model: null,
  budget: 100_000,
  first: null,
  outcome: 'ok',
  isImage: false,
  isReversed: false,
  said: null,
  redacted: null,
  feedback: 'Not reached yet.',
}
const EACH_MODEL = APIS.flatMap((api) => [[api, true] as const, [api, false] as const])

test.each(EACH_MODEL)(
  'a run can change from %s (first model: %s) to each other model and back',
  async (...from) => {
    for (const to of EACH_MODEL) {
      const run = new FakeRun()
      for (const model of [from, to, from]) await run.take(WHOLE, routeOf(model))
    }
  },
)

test.each(APIS)(
  'whatever record a run begins from, %s gets what it got before, unchanged, and its reasoning back',
  async (api) => {
    const run = new FakeRun()
    const route = routeOf([api, true])
    for (const said of [null, 'Hurry.', null]) await run.take({ ...WHOLE, said }, route)
    for (let records = 1; records <= run.length; records += 1) {
      // What its provider has replied to by then: the reply comes two records later.
      const answered = run.bodies.filter((sent) => sent.records + 2 <= records)
      let fork = run.fork(records)
      for (const _ of [1, 2, 3]) {
        await fork.take(WHOLE, route)
        const [first] = fork.bodies.map(({ body }) => parted(unmarked(body)).messages)
        const before = answered.at(-1)
        const sent = before === undefined ? [] : parted(unmarked(before.body)).messages
        expect(first?.slice(0, sent.length)).toEqual(sent)
        expect(JSON.stringify(first)).toContain('Otherwise.')
        fork = fork.fork(fork.length)
      }
    }
  },
)
