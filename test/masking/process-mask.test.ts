import { expect, test } from 'vitest'
import { recordHash } from '../../src/log/chain.ts'
import { encode } from '../../src/log/codec.ts'
import { guardSecrets, processMask } from '../../src/masking/process-mask.ts'
import { FAKES } from './fakes.ts'

const [token = ''] = FAKES['github-token'] ?? []
const META = { command_id: 'c', salt: '0'.repeat(32), prev_hash: '0'.repeat(64) }
const record = (payload: object) => ({ kind: 'note', ts: 1, payload })

test('a record is masked before it is hashed, and the masked record is returned', () => {
  const asked = record({ text: `${token}!` })
  const { event, logged } = encode(0, asked, META)
  expect(logged.record).toEqual(record({ text: '[masked:github-token]!' }))
  expect(JSON.parse(event.data)).toEqual(logged.record)
  const { hash, ...unsigned } = logged.meta
  expect(hash).toBe(recordHash(0, logged.record, unsigned))
  expect(asked.payload).toEqual({ text: `${token}!` })
})

test('secrets of the process are masked from then on everywhere, and weak ones are named', () => {
  expect(guardSecrets([{ name: 'A_KEY', value: 'first-secret' }])).toEqual([])
  const second = [
    { name: 'B_KEY', value: 'second-secret' },
    { name: 'C_KEY', value: 'test' },
  ]
  expect(guardSecrets(second)).toEqual(['C_KEY'])
  expect(processMask.text('first-secret second-secret test')).toBe(
    '[masked:A_KEY] [masked:B_KEY] test',
  )
  expect(guardSecrets(second)).toEqual(['C_KEY'])
  const pieces = processMask.pieces()
  expect(pieces.write('second-') + pieces.write('secret') + pieces.end()).toBe('[masked:B_KEY]')
  expect(encode(0, record({ a: 'first-secret' }), META).logged.record.payload).toEqual({
    a: '[masked:A_KEY]',
  })
})
