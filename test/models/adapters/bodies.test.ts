import { describe, expect, test } from 'vitest'
import { present } from '../../../src/domain/present.ts'
import { EFFORTS } from '../../../src/domain/run-config.ts'
import type { Api } from '../../../src/models/routing.ts'
import { complaintsAbout, currentSources, readSchemas } from '../schemas/schemas.ts'
import { ADAPTERS, APIS, REQUEST, routeTo, TOOL } from './support.ts'

/** Models of each family that is asked in its own way. */
const MODELS: Readonly<Record<Api, readonly string[]>> = {
  chat: ['some-model'],
  responses: ['gpt-5.2', 'gpt-4o'],
  messages: [
    'claude-opus-5-5',
    'claude-sonnet-5-5',
    'claude-haiku-5-5',
    'claude-fable-5-2',
    'claude-opus-4-6',
    'claude-sonnet-4-5',
    'claude-opus-4-1',
  ],
  gemini: ['gemini-3.8-flash', 'gemini-2.5-pro', 'gemini-2.5-flash', 'gemini-2.0-flash'],
  ollama: ['qwen3:8b', 'gpt-oss:20b'],
}

describe('the types of the vendors', () => {
  test.each(APIS)(
    'accept every effort and limit of a body for %s, with and without tools',
    (api) => {
      for (const model of MODELS[api]) {
        for (const effort of [undefined, ...EFFORTS]) {
          for (const maxOutputTokens of [undefined, 1, 9_000, 1_000_000]) {
            const more = present({ effort, maxOutputTokens })
            for (const tools of [[TOOL], []]) {
              const request = { ...REQUEST, tools, cacheKey: 'run-1', ...more }
              const body = ADAPTERS[api].body(request, routeTo(api, { model }))
              expect(complaintsAbout(api, body)).toEqual([])
            }
          }
        }
      }
    },
  )

  const mistakes: readonly (readonly [api: Api, mistake: object])[] = [
    ['messages', { temperature: 0 }],
    ['messages', { max_tokens: undefined }],
    ['messages', { output_config: { effort: 'ultra' } }],
    ['messages', { tools: [{ name: 'x', parameters: { type: 'object' } }] }],
    ['responses', { messages: [] }],
    ['responses', { max_tokens: 5 }],
    ['responses', { reasoning_effort: 'low' }],
    ['chat', { max_output_tokens: 5 }],
    ['chat', { messages: [{ role: 'tool', content: 'x' }] }],
    ['gemini', { system_instruction: 'x' }],
    ['gemini', { generationConfig: { thinkingLevel: 'HIGH' } }],
    ['ollama', { num_ctx: 5 }],
    ['ollama', { options: { num_context: 5 } }],
  ]
  test.each(mistakes)('refuse a body for %s with %j', (api, mistake) => {
    const body = ADAPTERS[api].body(REQUEST, routeTo(api))
    expect(complaintsAbout(api, { ...body, ...mistake })).not.toEqual([])
  })
})

test('the schemas are made from the installed packages of the vendors; if not: npm run schemas', async () => {
  expect(readSchemas().sources).toEqual(await currentSources())
})
