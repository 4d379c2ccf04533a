import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { GENESIS, recordHash, uuidOfHash } from '../../src/log/chain.ts'
import { decode, encode, SCHEMA } from '../../src/log/codec.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { validRun } from '../support/run-records.ts'

const record: RunRecord = {
  kind: 'error',
  run_id: '550e8400-e29b-41d4-a716-446655440000',
  iteration: 2,
  ts: 1739800000.123,
  payload: { message: 'disk full', traceback: '' },
}
const salt = '00112233445566778899aabbccddeeff'
const meta = { command_id: 'a', principal: 'local', salt, prev_hash: GENESIS }

function stored(seq: number, given: RunRecord = record): RecordedEvent {
  const { event } = encode(seq, given, meta)
  return { ...event, stream: 'run-x', revision: seq, position: String(seq), created: 0 }
}

test('for all valid runs, what is written is read back', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      records.forEach((each, seq) => {
        expect(decode(stored(seq, each))._unsafeUnwrap().record).toEqual(each)
      })
    }),
  )
})

test('metadata is read and checked in the same way in its usual form and in any other', () => {
  const good = stored(4)
  const usual: Record<string, unknown> = JSON.parse(good.metadata)
  expect(decode(good)._unsafeUnwrap().meta).toEqual(usual)
  const { principal: _, ...nobody } = usual
  for (const metadata of [nobody, { ...usual, principal: 'Zoë "the" writer' }]) {
    const event = { ...good, metadata: JSON.stringify(metadata) }
    expect(decode(event)._unsafeUnwrap().meta).toEqual(metadata)
  }
  for (const broken of [{ hash: 'F'.repeat(64) }, { salt: '0' }, { schema: 1.5 }, { more: 1 }]) {
    const metadata = JSON.stringify({ ...usual, ...broken })
    expect(decode({ ...good, metadata }).isErr()).toBe(true)
  }
  expect(decode({ ...good, altered: true }).isErr()).toBe(true)
})

test('the hash is SHA-256 over the canonical form, with commitments in place of strings', () => {
  const sha256 = (input: string) => createHash('sha256').update(input).digest('hex')
  const commitment = (pointer: string, input: string) => sha256(sha256(pointer + salt) + input)
  const canonical =
    `{"command_id":"a","iteration":2,"kind":"error","payload":{"message":"${commitment('/message', 'disk full')}",` +
    `"traceback":"${commitment('/traceback', '')}"},"prev_hash":"${GENESIS}","principal":"local",` +
    '"run_id":"550e8400-e29b-41d4-a716-446655440000","schema":1,"seq":7,"ts":1739800000.123}'
  const expected = sha256(canonical)
  expect(recordHash(7, record, { schema: SCHEMA, ...meta })).toBe(expected)
  expect(encode(7, record, meta).logged.meta.hash).toBe(expected)
})

test('the hash of any record equals that of its canonical form made of parts', () => {
  const texts = fc.string({ unit: 'grapheme' })
  const names = {
    kind: texts,
    run_id: texts,
    iteration: fc.oneof(fc.integer(), fc.constant(-0)),
    ts: fc.double({ noNaN: true, noDefaultInfinity: true }),
  }
  const records = fc.oneof(
    fc.record(names),
    fc.record({ ...names, more: texts }),
    fc.record(names, { requiredKeys: ['kind'] }),
  )
  const authors = fc.record(
    { command_id: texts, principal: texts },
    { requiredKeys: ['command_id'] },
  )
  fc.assert(
    fc.property(records, authors, fc.nat(), (parts, author, seq) => {
      const unhashed = { schema: 1, ...author, prev_hash: GENESIS }
      const canonical = canonicalize({ ...parts, payload: {}, ...unhashed, seq }) ?? ''
      const expected = createHash('sha256').update(canonical).digest('hex')
      expect(recordHash(seq, { ...parts, payload: {} }, { ...unhashed, salt })).toBe(expected)
    }),
  )
})

test('the hash depends on every part of a record and of its place', () => {
  const hashOf = (seq: number, ofRecord: object, ofMeta: object) =>
    recordHash(seq, { ...record, ...ofRecord }, { schema: 1, ...meta, ...ofMeta })
  const base = hashOf(7, {}, {})
  const others = [
    hashOf(8, {}, {}),
    ...[{ ts: 1 }, { iteration: 3 }, { payload: { message: 'disk ful', traceback: '' } }].map(
      (change) => hashOf(7, change, {}),
    ),
    ...[
      { schema: 2 },
      { principal: 'eve' },
      { command_id: 'b' },
      { prev_hash: '1'.repeat(64) },
      { salt: 'f'.repeat(32) },
    ].map((change) => hashOf(7, {}, change)),
  ]
  expect(new Set([base, ...others]).size).toBe(others.length + 1)
})

test('ids are lower-case UUIDs of version 8 made of the hash', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const id = uuidOfHash(createHash('sha256').update(text).digest('hex'))
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    }),
  )
})

test('a lone surrogate, which UTF-8 cannot hold, is replaced in texts and names before they are hashed and stored', () => {
  const call = { call_id: 'a', tool: 'bash_exec', args: { 'x\ud800': { 'y\udfff': 'z' } } }
  const broken: RunRecord = {
    ...record,
    kind: 'assistant_message',
    payload: { text: 'a\ud800b 😀', tool_calls: [call], finish_reason: 'tool_calls' },
  }
  const read = decode(stored(0, broken))._unsafeUnwrap()
  expect(read.record.payload).toMatchObject({
    ...{ text: 'a\ufffdb 😀', tool_calls: [{ args: { 'x\ufffd': { 'y\ufffd': 'z' } } }] },
  })
  const { hash, ...rest } = read.meta
  expect(recordHash(0, read.record, rest)).toBe(hash)
})

describe('a stored event that is not a record of ours is an error that names its place and the reason', () => {
  const good = stored(4)
  test.each([
    ['data that is no JSON', { data: '{' }, /JSON/],
    ['an unknown field', { data: JSON.stringify({ ...record, extra: 1 }) }, /extra/],
    ['an unknown kind', { data: JSON.stringify({ ...record, kind: 'nap' }) }, /kind/],
    ['metadata without a hash', { metadata: '{}' }, /hash/],
    [
      'a later schema',
      { metadata: JSON.stringify({ ...JSON.parse(good.metadata), schema: 99 }) },
      /schema 99.*update/,
    ],
  ])('%s', (_name, change, message) => {
    const error = decode({ ...good, ...change })._unsafeUnwrapErr()
    expect(error).toMatchObject({ type: 'damaged_record', stream: 'run-x', seq: 4 })
    expect(error.message).toMatch(message)
  })
})
