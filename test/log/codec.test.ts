import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { GENESIS, recordHash } from '../../src/log/chain.ts'
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

test('a lone surrogate, which UTF-8 cannot hold, is replaced in texts and names before they are hashed and stored', () => {
  const call = { call_id: 'a', tool: 'bash_exec', args: { 'x\ud800': { 'y\udfff': 'z' } } }
  const broken: RunRecord = {
    ...record,
    kind: 'assistant_message',
    payload: { text: 'a\ud800b 😀', tool_calls: [call], finish_reason: 'tool_calls' },
  }
  const read = decode(stored(0, broken))._unsafeUnwrap()
  expect(read.record.payload).toMatchObject({
    text: 'a\ufffdb 😀',
    tool_calls: [{ args: { 'x\ufffd': { 'y\ufffd': 'z' } } }],
  })
  const { hash, ...rest } = read.meta
  expect(recordHash(0, read.record, rest)).toBe(hash)
})

describe('a stored event that is not a record of ours is an error that names its place and the reason', () => {
  const good = stored(4)
  const withData = (change: object) => ({ data: JSON.stringify({ ...record, ...change }) })
  const withMeta = (change: object) => ({
    metadata: JSON.stringify({ ...JSON.parse(good.metadata), ...change }),
  })
  test.each<[string, Partial<RecordedEvent>, RegExp]>([
    ['data that is no JSON', { data: '{' }, /JSON/],
    ['an altered text', { altered: true }, /JSON/],
    ['an unknown field', withData({ extra: 1 }), /extra/],
    ['an unknown kind', withData({ kind: 'nap' }), /kind/],
    ['metadata without a hash', { metadata: '{}' }, /hash/],
    ['a hash in upper case', withMeta({ hash: 'F'.repeat(64) }), /hash/],
    ['a short salt', withMeta({ salt: '0' }), /salt/],
    ['an unknown name in its metadata', withMeta({ more: 1 }), /more/],
    ['a later schema', withMeta({ schema: 99 }), /schema 99.*update/],
  ])('%s', (_name, change, message) => {
    const error = decode({ ...good, ...change })._unsafeUnwrapErr()
    expect(error).toMatchObject({ type: 'damaged_record', stream: 'run-x', seq: 4 })
    expect(error.message).toMatch(message)
  })
})
