import { expect, test } from 'vitest'
import { taintedPacks } from '../../src/redaction/objects.ts'
import { append, prepare } from '../support/append-records.ts'
import { memoryStore } from '../support/memory-store.ts'
import { createdRecord } from '../support/run-records.ts'

test('a place of artifacts that is away is a failure that the answer names', async () => {
  const store = memoryStore()
  const accept = { sha256: 'a'.repeat(64), files: 1 }
  const created = createdRecord('550e8400-e29b-41d4-a716-446655440000', { accept })
  const prepared = prepare(created.run_id, null, [created], { commandId: 'c' })
  ;(await append(store, prepared))._unsafeUnwrap()
  const read = () => Promise.reject(new Error('The bucket cannot be reached'))
  const found = await taintedPacks({ store, artifacts: { read } }, ['secret'], (name) => [name])
  expect(found._unsafeUnwrapErr()).toEqual({
    type: 'artifact_unreachable',
    message: 'The bucket cannot be reached',
  })
})
