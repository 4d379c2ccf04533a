import { beforeEach, expect, test } from 'vitest'
import { ensureLogId } from '../../src/log/log-identity.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { append } from '../store/contract/support.ts'
import { memoryStore } from '../support/memory-store.ts'

let store: EventStore
beforeEach(() => {
  store = memoryStore()
})

test('a log gets one identity and keeps it, and another log gets another one', async () => {
  const first = (await ensureLogId(store))._unsafeUnwrap()
  expect((await ensureLogId(store))._unsafeUnwrap()).toBe(first)
  expect((await ensureLogId(memoryStore()))._unsafeUnwrap()).not.toBe(first)
})

test('all callers that ask at once get the same identity', async () => {
  const ids = await Promise.all(Array.from({ length: 8 }, () => ensureLogId(store)))
  expect(new Set(ids.map((id) => id._unsafeUnwrap())).size).toBe(1)
})

test.each([
  ['something else', '{}'],
  ['log_created', '{}'],
  ['log_created', '{'],
])('a stream that begins with %s %s names no log', async (type, data) => {
  const event = { id: 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a10', type, data, metadata: '{}' }
  await append(store, 'retrai-log', [event])
  expect((await ensureLogId(store))._unsafeUnwrapErr().type).toBe('log_id_unreadable')
})
