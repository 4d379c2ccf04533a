import { expect, onTestFinished, test, vi } from 'vitest'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { append, newEvent, observeAll, readAll } from '../contract/support.ts'
import { openStore, standIn } from './support.ts'

test.each([
  'esdb://',
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

test('an event has the same position, whether it is read from its stream or from all streams', async () => {
  const server = await standIn()
  const store = await openStore(server.connectionString)
  await append(store, 'run-1', [newEvent({ n: 0 }), newEvent({ n: 1 })])
  const observer = observeAll(store, 'run-')
  await observer.untilCaughtUp()
  await observer.stop()
  expect(observer.events).toEqual(await readAll(store, 'run-1'))
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
