import { describe, expect, test } from 'vitest'
import type { ModelRequest } from '../../../src/models/model.ts'
import { ADAPTERS, REQUEST, routeTo, TOOL } from './support.ts'

type Body = {
  readonly contents: readonly {
    readonly role: string
    readonly parts: readonly Record<string, unknown>[]
  }[]
  readonly systemInstruction: unknown
  readonly tools: unknown
}
const bodyOf = (changes: Partial<ModelRequest> = {}, model = 'gemini-3.8-flash') =>
  ADAPTERS.gemini.body({ ...REQUEST, ...changes }, routeTo('gemini', { model })) as Body

describe('a request to Gemini', () => {
  test('has schemas of tools in the subset that Google documents', () => {
    const parameters = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        count: { type: 'integer', exclusiveMinimum: 0, maximum: 9, default: 1 },
        share: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1, multipleOf: 0.1 },
        pattern: { type: 'string', pattern: '^a', minLength: 1, format: 'uri' },
        kind: { const: 'x' },
        list: { type: 'array', uniqueItems: true, items: { oneOf: [{ $ref: '#/definitions/T' }] } },
      },
      required: ['pattern'],
      additionalProperties: { type: 'string', format: 'date' },
      propertyNames: { type: 'string' },
      definitions: { T: { type: ['string', 'null'], examples: ['a'] } },
    }
    const { tools } = bodyOf({ tools: [{ ...TOOL, parameters }] })
    const [declaration] =
      (tools as { functionDeclarations: object[] }[])[0]?.functionDeclarations ?? []
    expect(declaration).toHaveProperty('parametersJsonSchema', {
      type: 'object',
      properties: {
        count: { type: 'integer', maximum: 9 },
        share: { type: 'number' },
        pattern: { type: 'string' },
        kind: { enum: ['x'] },
        list: { type: 'array', items: { anyOf: [{ $ref: '#/$defs/T' }] } },
      },
      required: ['pattern'],
      additionalProperties: { type: 'string' },
      $defs: { T: { type: ['string', 'null'] } },
    })
  })

  test('from Gemini 3 on, has the sentinel on the first call of a step that another model made', () => {
    const calls = ['a', 'b'].map((id) => ({ id, tool: 'file_read', args: '{}' }))
    const results = calls.map(({ id }) => ({ role: 'tool', callId: id, content: '' }) as const)
    const foreign = { role: 'assistant', content: null, calls } as const
    const messages = [...REQUEST.messages, foreign, ...results]
    const signatures = (model: string) =>
      bodyOf({ messages }, model).contents[1]?.parts.map(({ thoughtSignature }) => thoughtSignature)
    expect(signatures('gemini-3.8-flash')).toEqual(['skip_thought_signature_validator', undefined])
    expect(signatures('gemini-2.5-pro')).toEqual([undefined, undefined])
  })
})
