import { describe, expect, test } from 'vitest'
import { LISTED_MODELS } from '../../src/models/known-models.ts'
import type { Effort, ModelRequest } from '../../src/models/model.ts'
import { contextWindow } from '../../src/models/prices.ts'
import { type Api, type ModelSettings, route } from '../../src/models/routing.ts'
import { ADAPTERS, completeBy, REQUEST, routeTo } from './adapters/support.ts'

const KEYS: ModelSettings = {
  OPENAI_API_KEY: 'key',
  ANTHROPIC_API_KEY: 'key',
  GEMINI_API_KEY: 'key',
  OPENROUTER_API_KEY: 'key',
}

/** The body that is sent to a model. */
async function sentTo(model: string, asked: Partial<ModelRequest>, settings = KEYS) {
  const target = route(model, settings)
  const bodies: object[] = []
  const record = (body: object) => {
    bodies.push(body)
    return new Response('{}')
  }
  const complete = completeBy(target.api, record, target)
  const reply = await complete({ ...REQUEST, ...asked }, new AbortController().signal, () => {})
  expect(reply.isErr()).toBe(true)
  return bodies[0] as Record<string, unknown>
}

describe('a model whose provider does not let it think by itself is asked to', () => {
  const medium = { defaultEffort: 'medium' } as const

  test.each([
    ['openai/gpt-5.2', { reasoning: { effort: 'medium', summary: 'auto' } }],
    ['openai/gpt-5.4-mini', { reasoning: { effort: 'medium', summary: 'auto' } }],
    ['openai/gpt-5.6-sol', { reasoning: { summary: 'auto' } }],
    ['openai/gpt-5', { reasoning: { summary: 'auto' } }],
    ['claude-sonnet-4-5', { thinking: { type: 'enabled', budget_tokens: 8_192 } }],
    ['claude-opus-4-1', { thinking: { type: 'enabled', budget_tokens: 8_192 } }],
    ['claude-3-5-haiku-latest', { thinking: undefined }],
    ['claude-opus-5', { thinking: { type: 'adaptive' }, output_config: undefined }],
    [
      'gemini/gemini-2.5-flash-lite',
      { generationConfig: { thinkingConfig: { thinkingBudget: 8_192 } } },
    ],
    [
      'gemini/gemini-3.8-flash',
      { generationConfig: { thinkingConfig: { includeThoughts: true } } },
    ],
    ['openrouter/anthropic/claude-sonnet-4.6', { reasoning: { effort: 'medium' } }],
    ['openrouter/anthropic/claude-opus-5', { reasoning: undefined }],
  ])('%s', async (model, expected) => {
    const sent = await sentTo(model, medium)
    const named = Object.fromEntries(Object.keys(expected).map((name) => [name, sent[name]]))
    expect(named).toMatchObject(expected)
  })

  test('but not if the run names an effort, or was created before this was so', async () => {
    const named = await sentTo('openai/gpt-5.2', { ...medium, effort: 'none' })
    expect(named).toMatchObject({ reasoning: { effort: 'none' } })
    const before = await sentTo('openai/gpt-5.2', {})
    expect(before.reasoning).toEqual({ summary: 'auto' })
  })

  test('but not at an endpoint of the operator, which may serve another model', async () => {
    const settings = { RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
    expect(await sentTo('gpt-5.2', medium, settings)).not.toHaveProperty('reasoning_effort')
  })
})

/** What a body says about thinking. */
const thoughtIn = (body: { [name: string]: unknown }) => {
  const { thinking, output_config, think, generationConfig, reasoning } = body
  return { thinking, output_config, think, reasoning, ...Object(generationConfig) }
}
const adaptive = { type: 'adaptive', display: 'summarized' }
const thinking = (effort: string) => ({ thinking: adaptive, output_config: { effort } })
const between = { thinking: { type: 'between_tools' }, output_config: { effort: 'low' } }
const budget = (budget_tokens: number) => ({ thinking: { type: 'enabled', budget_tokens } })
const level = (thinkingLevel: string) => ({ thinkingLevel, includeThoughts: true })
const tokens = (thinkingBudget: number) => ({ thinkingBudget, includeThoughts: true })

test.each<[Api, model: string, Effort | undefined, expected: object]>([
  ['messages', 'claude-opus-5-5', undefined, { thinking: adaptive }],
  ['messages', 'claude-opus-5-5', 'max', thinking('max')],
  ['messages', 'claude-opus-5-5', 'none', thinking('low')],
  ['messages', 'claude-fable-5-2', 'none', thinking('low')],
  ['messages', 'claude-sonnet-5-5', 'none', between],
  ['messages', 'claude-haiku-5-5', 'none', { thinking: { type: 'disabled' } }],
  ['messages', 'claude-opus-5', 'none', { thinking: { type: 'disabled' } }],
  ['messages', 'claude-sonnet-4-6', 'minimal', thinking('low')],
  ['messages', 'claude-sonnet-4-6', 'max', thinking('high')],
  ['messages', 'claude-opus-4-7', 'none', {}],
  ['messages', 'claude-sonnet-4-5', undefined, {}],
  ['messages', 'claude-sonnet-4-5', 'low', budget(4_096)],
  ['messages', 'claude-3-5-haiku-latest', 'high', {}],
  ['messages', 'claude-next-9', 'high', thinking('high')],
  ['gemini', 'gemini-3.8-flash', 'high', { thinkingConfig: level('HIGH') }],
  ['gemini', 'gemini-3.8-flash', 'none', { thinkingConfig: level('MINIMAL') }],
  ['gemini', 'gemini-2.5-flash', 'none', { thinkingConfig: { thinkingBudget: 0 } }],
  ['gemini', 'gemini-2.5-pro', 'none', { thinkingConfig: tokens(128) }],
  ['gemini', 'gemini-2.5-pro', 'low', { thinkingConfig: tokens(1024) }],
  ['gemini', 'gemini-2.0-flash', 'low', {}],
  ['ollama', 'qwen3:8b', undefined, {}],
  ['ollama', 'qwen3:8b', 'none', { think: false }],
  ['ollama', 'qwen3:8b', 'high', { think: true }],
  ['ollama', 'gpt-oss:20b', 'none', { think: 'low' }],
  ['ollama', 'gpt-oss:20b', 'max', { think: 'high' }],
])('over %s, %s with the effort %s gets %j', (api, model, effort, expected) => {
  const request = { ...REQUEST, ...(effort && { effort }) }
  const body = ADAPTERS[api].body(request, routeTo(api, { model }))
  expect(thoughtIn(JSON.parse(JSON.stringify(body)))).toEqual(expected)
})

test('the window of each listed model is known', () => {
  const unknown = LISTED_MODELS.filter((name) => contextWindow(route(name, KEYS)) === null)
  expect(unknown).toEqual([])
})
