import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { RunRecord } from '../../src/domain/records.ts'
import { quickParse } from '../../src/lib/quick-parse.ts'
import { validRun } from '../support/run-records.ts'

/** What both ways make of a value: what they return, or the problem. */
function outcome(parse: () => unknown): unknown {
  try {
    return { parsed: parse() }
  } catch (cause) {
    return cause instanceof z.ZodError ? { issues: cause.issues } : { cause }
  }
}

function expectAsZod(schema: z.ZodType, value: unknown): void {
  const quick = outcome(() => quickParse(schema, structuredClone(value)))
  const slow = outcome(() => schema.parse(structuredClone(value)))
  expect(quick).toEqual(slow)
  // What is served is written in the order of the names.
  expect(JSON.stringify(quick)).toBe(JSON.stringify(slow))
}

/** The same value with the names of its objects in reverse. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toReversed()
  return Object.fromEntries(entries.map(([name, item]) => [name, reversed(item)]))
}

const someJson = fc.oneof(
  fc.constantFrom(null, true, '', 'x', 0, -1, 0.5, 1e300, 253_402_300_800, [], {}),
  fc.jsonValue(),
)

/** Replaces, in JSON text, the value of one member, or adds a member beside it. */
const change = fc.record({
  member: fc.nat(),
  value: someJson.map((value) => JSON.stringify(value)),
  name: fc.constantFrom(null, '__proto__', 'unknown', 'toString', 'reason', 'payload'),
})

function changed(
  json: string,
  { member, value, name }: { member: number; value: string; name: string | null },
) {
  const members = [
    ...json.matchAll(/"\w+":(?:"(?:[^"\\]|\\.)*"|[\d.e+-]+|true|false|null|\[\]|\{\})/g),
  ]
  const found = members[member % members.length]
  if (found === undefined) return json
  const [text] = found
  const other =
    name === null ? `${text.slice(0, text.indexOf(':'))}:${value}` : `${text},"${name}":${value}`
  return json.slice(0, found.index) + other + json.slice(found.index + text.length)
}

describe('records', () => {
  test('are parsed as zod parses them', () => {
    fc.assert(
      fc.property(validRun(), (records) => {
        for (const record of records) {
          expectAsZod(RunRecord, record)
          expectAsZod(RunRecord, reversed(record))
        }
      }),
      { numRuns: 40 },
    )
  })

  test('that are changed anywhere are accepted or refused as by zod, for the same reason', () => {
    fc.assert(
      fc.property(
        validRun(undefined, { maxMoves: 8 }),
        fc.array(change, { minLength: 1, maxLength: 20 }),
        (records, changes) => {
          for (const [n, record] of records.entries()) {
            const how = changes[n % changes.length]
            if (how !== undefined)
              expectAsZod(RunRecord, JSON.parse(changed(JSON.stringify(record), how)))
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  test('of all kinds are parsed without zod', () => {
    const parse = vi.spyOn(RunRecord, 'parse')
    fc.assert(
      fc.property(validRun(), (records) => {
        for (const record of records) quickParse(RunRecord, JSON.parse(JSON.stringify(record)))
      }),
      { numRuns: 40 },
    )
    expect(parse).not.toHaveBeenCalled()
    parse.mockRestore()
  })
})

describe('other schemas', () => {
  test.each<[string, z.ZodType]>([
    ['a default', z.strictObject({ a: z.string().default('b') })],
    ['an object that strips names', z.object({ a: z.string() })],
    ['a transformation', z.strictObject({ a: z.string().trim() })],
    ['a coercion', z.strictObject({ a: z.coerce.number() })],
    ['a format', z.strictObject({ a: z.iso.datetime() })],
    ['a limit of length', z.strictObject({ a: z.array(z.string()).max(1) })],
    ['a beginning', z.strictObject({ a: z.string().startsWith('b') })],
    ['names of a form', z.strictObject({ a: z.record(z.string().startsWith('/'), z.string()) })],
    ['a refined object', z.strictObject({ a: z.any() }).refine(() => false)],
  ])('with %s are left to zod', (_, schema) => {
    for (const a of [undefined, 'b', ' b', '1', 1, ['b', 'b'], { '/b': 'c' }, { b: 'c' }]) {
      expectAsZod(schema, { a })
      expectAsZod(schema, { a, more: 1 })
    }
    expectAsZod(schema, {})
  })

  test('after a UUID was parsed twice, no other text passes for one', () => {
    const schema = z.strictObject({ a: z.uuid() })
    const id = '0b0b6a3e-5d0a-4c57-8f4e-2f6f0b0c7a11'
    for (const a of [null, '', id, id, null, '', `${id}0`, id.toUpperCase()]) {
      expectAsZod(schema, { a })
    }
  })

  test('read no member that an object inherits', () => {
    const schema = z.strictObject({ a: z.string() })
    expectAsZod(schema, Object.create({ a: 'b' }))
    expect(outcome(() => quickParse(schema, ['b']))).toEqual(outcome(() => schema.parse(['b'])))
  })
})
