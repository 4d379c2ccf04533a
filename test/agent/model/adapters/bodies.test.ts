import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EFFORTS } from '../../../../src/domain/run-config.ts'
import { conversationWith, messagesAfter } from './conversations.ts'
import { ADAPTERS, REQUEST, routeTo, type TestedApi, TOOL } from './support.ts'
import { complaintsOf, VENDOR_TYPES } from './vendor-types.ts'

const APIS: readonly TestedApi[] = ['chat', 'responses', 'messages']
const CLAUDES = [
  'claude-opus-5-5',
  'claude-sonnet-5-5',
  'claude-haiku-5-5',
  'claude-opus-4-6',
  'claude-sonnet-4-5',
  'claude-fable-5-2',
  'claude-opus-4-1',
]

/** Bodies of many conversations with many settings. */
function bodiesOf(api: TestedApi): object[] {
  const route = routeTo(api)
  const models = api === 'messages' ? CLAUDES : api === 'responses' ? ['gpt-5.2', 'gpt-4o'] : ['m']
  const settings = models.flatMap((model) =>
    [undefined, ...EFFORTS].map((effort) => ({ model, effort })),
  )
  const conversations = fc.sample(conversationWith(route), { numRuns: settings.length, seed: 7 })
  return settings.map(({ model, effort }, index) => {
    const request = {
      ...REQUEST,
      messages: messagesAfter(conversations[index] ?? []),
      tools: index % 3 === 0 ? [] : [TOOL],
      cacheKey: 'run-1',
      ...(effort === undefined ? {} : { effort }),
      ...(index % 2 === 0 ? { maxOutputTokens: 9_000 } : {}),
    }
    return ADAPTERS[api].body(request, { ...route, model })
  })
}

describe('the types of the vendors', () => {
  test('accept every body that the adapters build', () => {
    const bodies = APIS.flatMap((api) =>
      bodiesOf(api).map((body) => ({ type: VENDOR_TYPES[api], body })),
    )
    const found = complaintsOf(bodies)
    expect(
      found.flatMap((texts, index) => texts.map((text) => ({ text, ...bodies[index] }))),
    ).toEqual([])
  }, 120_000)

  test('refuse bodies with mistakes, so the test above can fail', () => {
    const [chat, responses, messages] = APIS.map((api) => ADAPTERS[api].body(REQUEST, routeTo(api)))
    const { max_tokens: _, ...unlimited } = messages as { max_tokens: number }
    const mistakes = [
      { type: VENDOR_TYPES.messages, body: { ...messages, temperature: 0 } },
      { type: VENDOR_TYPES.messages, body: unlimited },
      { type: VENDOR_TYPES.messages, body: { ...messages, output_config: { effort: 'ultra' } } },
      { type: VENDOR_TYPES.responses, body: { ...responses, messages: [] } },
      { type: VENDOR_TYPES.responses, body: { ...responses, max_tokens: 5 } },
      { type: VENDOR_TYPES.responses, body: { ...responses, reasoning_effort: 'low' } },
      { type: VENDOR_TYPES.chat, body: { ...chat, max_output_tokens: 5 } },
      { type: VENDOR_TYPES.chat, body: { ...chat, messages: [{ role: 'tool', content: 'x' }] } },
    ]
    expect(complaintsOf(mistakes).filter((texts) => texts.length === 0)).toEqual([])
  }, 120_000)
})
