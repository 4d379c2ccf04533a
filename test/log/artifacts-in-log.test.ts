import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  ArtifactsUnreachable,
  artifactsIn,
  createArtifacts,
} from '../../src/artifacts/artifacts.ts'
import { sha256 as sha256Of } from '../../src/lib/sha256.ts'
import { artifactsInLog } from '../../src/log/artifacts-in-log.ts'
import { artifactStream } from '../../src/log/run-log.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { type EventStore, storeWith } from '../../src/store/event-store.ts'
import { temporaryFolder } from '../runner/support.ts'
import { readAll } from '../store/contract/support.ts'
import { openStore, standIn } from '../store/eventstoredb/support.ts'

/** More than two chunks, with varied bytes. */
const LARGE = randomBytes(1_500_001)

async function contentOf(
  artifacts: Pick<ReturnType<typeof artifactsInLog>, 'read'>,
  sha256: string,
): Promise<Buffer | null> {
  const found = await artifacts.read(sha256)
  if (found === null) return null
  const content = await buffer(found.stream)
  expect(content.length).toBe(found.bytes)
  return content
}

const stores: Record<string, () => Promise<EventStore>> = {
  'the embedded store': async () => {
    const file = join(await temporaryFolder(), 'log.sqlite')
    const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
    onTestFinished(() => store.close())
    return store
  },
  'EventStoreDB (stand-in)': async () => openStore((await standIn()).connectionString),
}

describe.each(Object.entries(stores))('artifacts in %s', (_, open) => {
  test.each([
    ['of no bytes', Buffer.alloc(0)],
    ['of text', Buffer.from('grün 😀\0')],
    ['of several chunks', LARGE],
  ])('an artifact %s is read as it was put', async (_what, content) => {
    const artifacts = artifactsInLog(await open())
    const sha256 = await artifacts.put(content)
    expect(sha256).toBe(sha256Of(content))
    expect(await contentOf(artifacts, sha256)).toEqual(content)
  })

  test('an artifact is stored once, even if several servers put it at once', async () => {
    const store = await open()
    const artifacts = artifactsInLog(store)
    const names = await Promise.all([1, 2, 3].map(() => artifacts.put(LARGE)))
    expect(new Set(names).size).toBe(1)
    expect(await readAll(store, artifactStream(names[0] ?? ''))).toHaveLength(3)
  })

  test('an artifact that a crash cut short does not exist, and is completed when it is put again', async () => {
    const store = await open()
    let appends = 0
    const crashing = storeWith(store, {
      append: (...args) => {
        appends += 1
        if (appends > 1) throw new Error('the process has crashed')
        return store.append(...args)
      },
    })
    await expect(artifactsInLog(crashing).put(LARGE)).rejects.toThrow('crashed')
    const artifacts = artifactsInLog(store)
    expect(await artifacts.read(sha256Of(LARGE))).toBeNull()
    expect(await contentOf(artifacts, await artifacts.put(LARGE))).toEqual(LARGE)
  })

  test('an artifact that was removed is gone, and removing it again changes nothing', async () => {
    const store = await open()
    const artifacts = artifactsInLog(store)
    const sha256 = await artifacts.put(LARGE)
    await artifacts.remove(sha256)
    expect(await artifacts.read(sha256)).toBeNull()
    const left = await store.readStream(artifactStream(sha256), {
      from: 0,
      direction: 'forward',
      limit: 10,
    })
    for (const { data } of left.unwrapOr([])) expect(data.length).toBeLessThan(200)
    await artifacts.remove(sha256)
  })
})

test('a store that is away is told apart from an artifact that does not exist', async () => {
  const server = await standIn()
  const artifacts = artifactsInLog(await openStore(server.connectionString, { timeoutMs: 500 }))
  expect(await artifacts.read(sha256Of('nothing'))).toBeNull()
  await server.faults.down()
  await expect(artifacts.read(sha256Of('nothing'))).rejects.toThrow(ArtifactsUnreachable)
  const put = artifacts.put('kept once the store is back')
  await server.faults.up()
  expect(await contentOf(artifacts, await put)).toEqual(Buffer.from('kept once the store is back'))
})

test('what one server keeps, another reads, and a local copy serves while the store is away', async () => {
  const server = await standIn()
  const places = async () => {
    const store = await openStore(server.connectionString, { timeoutMs: 2_000 })
    return artifactsIn([artifactsInLog(store), createArtifacts(await temporaryFolder())], [])
  }
  const one = await places()
  const other = await places()
  const sha256 = await one.put(LARGE)
  expect(await contentOf(other, sha256)).toEqual(LARGE)
  await server.faults.down()
  expect(await contentOf(one, sha256)).toEqual(LARGE)
  await expect(other.read(sha256)).rejects.toThrow(ArtifactsUnreachable)
  await server.faults.up()
})
