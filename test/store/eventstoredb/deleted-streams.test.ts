import { EventStoreDBClient } from '@eventstore/db-client'
import { expect, test } from 'vitest'
import {
  append,
  dense,
  numbered,
  observeAll,
  observeStream,
  revisions,
} from '../contract/support.ts'
import { connected } from './support.ts'

test('a deleted stream is not found, nothing waits for it in vain, and it keeps its revisions', async () => {
  const { server, store } = await connected()
  const admin = EventStoreDBClient.connectionString(server.connectionString)
  await append(store, 'run-1', numbered(3))
  await admin.deleteStream('run-1')
  await admin.dispose()
  const read = await store.readStream('run-1', { from: 0, direction: 'forward', limit: 9 })
  expect(read._unsafeUnwrapErr()).toEqual({ type: 'stream_not_found', stream: 'run-1' })
  const observer = observeStream(store, 'run-1')
  await observer.stopAfter()
  expect(observer.events).toEqual([])
  expect(await append(store, 'run-1', numbered(1), 'no_stream')).toBe(3)
  const ofAll = observeAll(store, 'run-')
  await ofAll.until(() => ofAll.events.some((event) => event.revision === 3))
  await ofAll.stop()
  expect(ofAll.events.map(({ type }) => type)).not.toContain('$streamDeleted')
})

test('a truncated stream keeps its revisions', async () => {
  const { server, store } = await connected()
  const admin = EventStoreDBClient.connectionString(server.connectionString)
  await append(store, 'run-1', numbered(10))
  await admin.setStreamMetadata('run-1', { truncateBefore: 6 })
  await admin.dispose()
  const read = await store.readStream('run-1', { from: 0, direction: 'forward', limit: 99 })
  expect(revisions(read._unsafeUnwrap())).toEqual(dense(6, 9))
  const events = await observeStream(store, 'run-1').stopAfter()
  expect(revisions(events)).toEqual(dense(6, 9))
})

test('a stream of which the latest are kept has these, and keeps its revisions', async () => {
  const { server, store } = await connected()
  await append(store, 'run-1', numbered(10))
  for (const count of [4, 2]) {
    expect((await store.keepLatest?.('run-1', count))?.isOk()).toBe(true)
  }
  const readAll = async () => {
    const options = { from: 0, direction: 'forward', limit: 99 } as const
    return revisions((await store.readStream('run-1', options))._unsafeUnwrap())
  }
  // The first limit holds: it may be that of an operator.
  expect(await readAll()).toEqual(dense(6, 9))
  await append(store, 'run-1', numbered(3), 9)
  expect(await readAll()).toEqual(dense(9, 12))
  const observer = observeStream(store, 'run-1')
  await observer.stopAfter()
  expect(revisions(observer.events)).toEqual(dense(9, 12))
  const limits = server.log.events('$$run-1').map(({ data }) => Buffer.from(data).toString())
  expect(limits.map((limit) => JSON.parse(limit))).toEqual([{ $maxCount: 4 }])
})
