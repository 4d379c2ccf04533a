import fc from 'fast-check'
import { expect, test } from 'vitest'
import { plainMetadata } from '../../src/lib/plain-metadata.ts'

const GRAMMAR =
  /^\{"schema":1,"command_id":"[\w-]+",(?:"principal":"[\w .@-]+",)?"salt":"[0-9a-f]{32}","prev_hash":"[0-9a-f]{64}","hash":"[0-9a-f]{64}"\}$/

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
const metadata = fc
  .tuple(fc.uuid(), fc.option(fc.stringMatching(/^[\w .@-]{1,64}$/)), hex(32), hex(64), hex(64))
  .map(([command_id, principal, salt, prev_hash, hash]) => {
    return {
      schema: 1,
      command_id,
      ...(principal === null ? {} : { principal }),
      salt,
      prev_hash,
      hash,
    }
  })

test('reads what this server writes', () => {
  fc.assert(
    fc.property(metadata, (meta) => {
      expect(plainMetadata(JSON.stringify(meta))).toEqual(meta)
    }),
  )
})

test('reads text that was changed only if it is still of this form', () => {
  const change = fc.record({
    at: fc.nat({ max: 400 }),
    remove: fc.nat({ max: 2 }),
    add: fc.oneof(
      fc.string({ unit: 'binary', maxLength: 2 }),
      fc.constantFrom('"', ' ', '\\', ',', '0', 'A', 'g', 'é', '}', '{"schema":1,"command_id":"'),
    ),
  })
  fc.assert(
    fc.property(metadata, change, (meta, { at, remove, add }) => {
      const text = JSON.stringify(meta)
      const other = text.slice(0, at) + add + text.slice(at + remove)
      const read = plainMetadata(other)
      expect(read !== null).toBe(GRAMMAR.test(other))
      if (read !== null) expect(JSON.stringify(read)).toBe(other)
    }),
    { numRuns: 500 },
  )
})

test.each(['', '{}', '"}', ' '.repeat(300), `{"schema":1,"command_id":"${'a'.repeat(2000)}"}`])(
  'reads nothing in %j',
  (text) => {
    expect(plainMetadata(text)).toBeNull()
  },
)
