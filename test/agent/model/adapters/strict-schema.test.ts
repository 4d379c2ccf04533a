import { describe, expect, test } from 'vitest'
import { strictSchema, withoutNulls } from '../../../../src/agent/model/adapters/strict-schema.ts'

const object = (properties: object, required: string[] = [], more: object = {}) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
  ...more,
})

describe('a strict schema', () => {
  test('requires every property, and an optional one may be null', () => {
    const schema = object(
      {
        path: { type: 'string', minLength: 1, description: 'Where.' },
        lines: { type: 'integer', minimum: 1, default: 5 },
        mode: { type: 'string', enum: ['a', 'b'] },
        inner: object({ deep: { type: 'boolean' } }),
      },
      ['path'],
      { $schema: 'https://json-schema.org/draft/2020-12/schema' },
    )
    expect(strictSchema(schema)).toEqual(
      object(
        {
          path: { type: 'string', description: 'Where.' },
          lines: { type: ['integer', 'null'], minimum: 1 },
          mode: { anyOf: [{ type: 'string', enum: ['a', 'b'] }, { type: 'null' }] },
          inner: {
            anyOf: [object({ deep: { type: ['boolean', 'null'] } }, ['deep']), { type: 'null' }],
          },
        },
        ['path', 'lines', 'mode', 'inner'],
      ),
    )
  })

  test.each([
    [
      'an open object',
      { type: 'object', properties: {}, additionalProperties: { type: 'string' } },
    ],
    ['a reference', object({ a: { $ref: '#/x' } })],
    ['a list without a type of its items', object({ a: { type: 'array' } })],
    ['a property of any type', object({ a: {} })],
    ['one of several', { oneOf: [object({})] }],
    ['a choice at its root', { anyOf: [object({}), object({ a: { type: 'string' } })] }],
  ])('is not made of %s', (_, schema) => {
    expect(strictSchema(schema)).toBeNull()
  })
})

test('a null in place of an optional argument is left out, and another null stays', () => {
  const item = object({ note: { type: 'string' }, keep: { type: 'null' } }, ['keep'])
  const schema = object(
    {
      a: { type: 'string' },
      b: { type: ['string', 'null'] },
      list: { type: 'array', items: item },
      any: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    },
    ['b'],
  )
  const args = {
    a: null,
    b: null,
    any: null,
    list: [
      { note: null, keep: null },
      { note: 'x', keep: null },
    ],
  }
  expect(withoutNulls(args, schema)).toEqual({
    b: null,
    any: null,
    list: [{ keep: null }, { note: 'x', keep: null }],
  })
})
