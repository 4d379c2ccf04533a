import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RunRecord } from '../../src/domain/records.ts'
import { createMask, maskPayload } from '../../src/masking/mask.ts'
import { validRun } from '../support/run-records.ts'
import { FAKES } from './fakes.ts'

const { text } = createMask([{ name: 'OPENAI_API_KEY', value: 'achieved' }])
const [secret = ''] = FAKES['github-token'] ?? []

/** The places where a person, a model or a program can put any text. */
const PROSE = new Set(
  'text reason details output summary message traceback system_prompt call_id tool content'.split(
    ' ',
  ),
)

test('a payload without secrets is returned as it is, the same object', () => {
  const payload = { text: 'fine', tool_calls: [{ args: { a: ['b', { c: null }] } }], n: 1 }
  expect(maskPayload(payload, text)).toBe(payload)
})

test('strings are masked at any depth, and nothing else changes', () => {
  const payload = { a: [1, { b: `x ${secret}` }, null], c: true, d: 'x' }
  expect(maskPayload(payload, text)).toEqual({
    a: [1, { b: 'x [masked:github-token]' }, null],
    c: true,
    d: 'x',
  })
})

test('names are masked in the arguments of tools, and two names with the same mask stay apart', () => {
  const [other = ''] = FAKES['github-token']?.slice(1) ?? []
  const payload = { tool_calls: [{ tool: 'x', args: { [secret]: 1, [other]: 2, status: secret } }] }
  expect(maskPayload(payload, text)).toEqual({
    tool_calls: [
      {
        tool: 'x',
        args: {
          '[masked:github-token]': 1,
          '[masked:github-token] 2': 2,
          status: '[masked:github-token]',
        },
      },
    ],
  })
  expect(Object.keys(maskPayload({ achieved: true }, text))).toEqual(['achieved'])
})

test('a name with a meaning in JavaScript stays a name', () => {
  const payload = { args: JSON.parse(`{"__proto__": "${secret}"}`) }
  expect(JSON.stringify(maskPayload(payload, text))).toBe(
    '{"args":{"__proto__":"[masked:github-token]"}}',
  )
})

test('words and hashes that the server writes stay, even if one of its keys is such a word', () => {
  const payload = { status: 'achieved', sha256: 'achieved', reason: 'achieved' }
  expect(maskPayload(payload, text)).toEqual({
    status: 'achieved',
    sha256: 'achieved',
    reason: '[masked:OPENAI_API_KEY]',
  })
})

test('masked records are records, and records without a secret stay as they are', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      for (const record of records) {
        const payload = maskPayload(record.payload, createMask([]).text)
        expect(payload).toBe(record.payload)
        const planted = JSON.parse(JSON.stringify(record), (name, item: unknown) => {
          return typeof item === 'string' && PROSE.has(name) ? `${item} ${secret} achieved` : item
        })
        const masked = { ...planted, payload: maskPayload(planted.payload, text) }
        expect(RunRecord.safeParse(masked).success).toBe(true)
        expect(JSON.stringify(masked)).not.toContain(secret)
      }
    }),
    { numRuns: 50 },
  )
})
