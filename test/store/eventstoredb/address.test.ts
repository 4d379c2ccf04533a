import { createServer } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { appendError, storeFailure } from '../../../src/store/eventstoredb/calls.ts'
import { readConnectionString } from '../../../src/store/eventstoredb/connection-string.ts'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { portOf } from '../../support/serve.ts'

describe('a connection string', () => {
  test('of KurrentDB is the same as one of EventStoreDB', () => {
    const { base } = readConnectionString('kurrentdb+discover://a,b?tls=false')._unsafeUnwrap()
    expect(base).toBe('esdb+discover://a,b')
  })

  test.each(['zx@yq', 'zx:yq', 'zx/yq', 'z@x:y', 'zx?yq', '1?zx=yq', 'zx%yq'])(
    'with the password %s, which is not encoded, is refused without showing any of it',
    async (password) => {
      const connectionString = `esdb://admin:${password}@127.0.0.1:2113?tls=false`
      const { message } = (await openEventStoreDb({ connectionString }))._unsafeUnwrapErr()
      expect(message).toContain('%40 for @')
      expect(message).not.toMatch(/z|x|yq/)
    },
  )

  test.each(['tlsCAFile=/no/such/file', 'userCertFile=/no/such/file', 'tls=perhaps'])(
    'with %s is refused',
    async (option) => {
      const opened = await openEventStoreDb({ connectionString: `esdb://host?${option}` })
      expect(opened._unsafeUnwrapErr().type).toBe('store_failed')
    },
  )

  test('with a user and no password is refused', () => {
    expect(readConnectionString('esdb://ada@host')._unsafeUnwrapErr()).toContain(
      'without a password',
    )
  })
})

test('the store logs what is wrong, and reports it when it is asked', async () => {
  const closed = createServer()
  const unused = await portOf(closed)
  closed.close()
  const lines: string[] = []
  const connectionString = `esdb://127.0.0.1:${unused}?tls=false&maxDiscoverAttempts=1`
  const opened = await openEventStoreDb({ connectionString, log: (line) => lines.push(line) })
  const store = opened._unsafeUnwrap()
  onTestFinished(() => store.close())
  await expect.poll(() => lines.join()).toContain('ECONNREFUSED')
  expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({
    type: 'store_unavailable',
    message: expect.stringContaining('ECONNREFUSED'),
  })
})

test.each([
  [{ code: 16, message: 'x' }, 'does not know the user in EVENTSTORE_URL, or not'],
  [{ code: 7, message: 'x' }, 'lacks a right'],
  [{ type: 'access-denied', message: 'x' }, 'lacks a right'],
])('a refusal for lack of rights (%j) names the setting and what is missing', (cause, text) => {
  const expected = { type: 'store_failed', message: expect.stringContaining(text) }
  expect(storeFailure(cause)).toMatchObject(expected)
  expect(appendError(cause, { expected: 0, bytes: 1 })).toMatchObject(expected)
})
