import { expect, onTestFinished, test, vi } from 'vitest'
import { appendError, storeFailure } from '../../../src/store/eventstoredb/calls.ts'
import { readConnectionString } from '../../../src/store/eventstoredb/connection-string.ts'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { append, newEvent } from '../contract/support.ts'
import { openStore, standIn } from './support.ts'

test.each([
  'esdb://',
  'esdb://user-without-password@host',
  'http://127.0.0.1:2113',
  'esdb://127.0.0.1:2113?tls=perhaps',
  'esdb://127.0.0.1:2113?tlsCAFile=/there/is/no/such/file',
  'esdb://127.0.0.1:2113?tls=true&userCertFile=/only/one/of/two',
])('%s is refused as a connection string', async (connectionString) => {
  const opened = await openEventStoreDb({ connectionString })
  expect(opened._unsafeUnwrapErr()).toMatchObject({
    type: 'store_failed',
    message: expect.stringMatching(/connection string/),
  })
})

test('a connection string of KurrentDB is the same as one of EventStoreDB', () => {
  const { base } = readConnectionString('kurrentdb+discover://a,b?tls=false')._unsafeUnwrap()
  expect(base).toBe('esdb+discover://a,b')
})

test.each(['zx@yq', 'zx:yq', 'zx/yq', 'z@x:y', 'zx?yq', '1?zx=yq', 'zx%yq'])(
  'a connection string with the password %s, which is not encoded, is refused without showing any of it',
  async (password) => {
    const connectionString = `esdb://admin:${password}@127.0.0.1:2113?tls=false`
    const { message } = (await openEventStoreDb({ connectionString }))._unsafeUnwrapErr()
    expect(message).toContain('%40 for @')
    expect(message).not.toMatch(/z|x|yq/)
  },
)

test.each([
  [{ code: 16, message: 'x' }, 'does not know the user in EVENTSTORE_URL, or not'],
  [{ code: 7, message: 'x' }, 'lacks a right'],
  [{ type: 'access-denied', message: 'x' }, 'lacks a right'],
])('a refusal for lack of rights (%j) names the setting and what is missing', (cause, text) => {
  const expected = { type: 'store_failed', message: expect.stringContaining(text) }
  expect(storeFailure(cause)).toMatchObject(expected)
  expect(appendError(cause, { expected: 0, bytes: 1 })).toMatchObject(expected)
})

test('options without effect are named and ignored, and the password is not printed', async () => {
  const server = await standIn()
  const printed = vi.spyOn(console, 'warn')
  onTestFinished(() => printed.mockRestore())
  const messages: string[] = []
  const options = 'tlsVerifyCert=false&throwOnAppendFailure=false&tls=false&color=blue'
  const store = await openStore(`esdb://admin:s3cret@127.0.0.1:${server.port}?${options}`, {
    log: (text) => messages.push(text),
  })
  expect(messages).toEqual([
    expect.stringContaining('tlsVerifyCert'),
    expect.stringContaining('throwOnAppendFailure'),
    expect.stringContaining('color'),
  ])
  expect(printed).not.toHaveBeenCalled()
  await append(store, 'run-1', [newEvent()], 'no_stream')
  const refused = await store.append('run-1', [newEvent()], { expectedRevision: 'no_stream' })
  expect(refused._unsafeUnwrapErr()).toMatchObject({ type: 'wrong_expected_revision', actual: 0 })
})

test('no message shows the password, however the string is broken', async () => {
  const password = 'p%40ss-w%3Ard'
  const messages: string[] = []
  const log = (message: string) => messages.push(message)
  for (const rest of ['127.0.0.1:1?tls=false', '127.0.0.1:x:y?tls=false', '?', '127.0.0.1?tls=1']) {
    const connectionString = `esdb://admin:${password}@${rest}`
    const opened = await openEventStoreDb({ connectionString, log })
    if (opened.isErr()) messages.push(opened.error.message)
    else {
      const pinged = await opened.value.ping()
      messages.push(JSON.stringify(pinged))
      await opened.value.close()
    }
  }
  expect(messages.length).toBeGreaterThan(3)
  for (const message of messages) {
    expect(message).not.toContain(password)
    expect(message).not.toContain(decodeURIComponent(password))
  }
})

test('a silent server delays opening only for a moment, and calls only up to their time limit', async () => {
  const server = await standIn()
  server.faults.freeze()
  const store = await openStore(`${server.connectionString}&defaultDeadline=300`)
  const read = await store.readStream('run-1', { from: 0, direction: 'forward', limit: 1 })
  expect(read._unsafeUnwrapErr()).toMatchObject({
    type: 'store_unavailable',
    message: expect.stringContaining('300 ms'),
  })
  server.faults.thaw()
})
