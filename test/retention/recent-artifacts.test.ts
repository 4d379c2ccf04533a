import { expect, test } from 'vitest'
import { sha256 } from '../../src/lib/sha256.ts'
import { RecentArtifacts } from '../../src/retention/recent-artifacts.ts'
import { append, newEvent } from '../store/contract/support.ts'
import { memoryStore } from '../support/memory-store.ts'

/** Artifacts in memory, whose removal ends when `release` is called. */
function setup() {
  const kept = new Set<string>()
  let release = (): void => {}
  const artifacts = new RecentArtifacts({
    put: async (content) => {
      kept.add(sha256(content))
      return sha256(content)
    },
    read: async () => null,
    remove: async (name) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      kept.delete(name)
    },
  })
  return { artifacts, kept, release: () => release() }
}

test('what was just put stays until a record names it', async () => {
  const { artifacts, kept, release } = setup()
  const store = artifacts.noting(memoryStore())
  const name = await artifacts.put('a')
  artifacts.beginRemoval()
  await artifacts.removeUnnamed(name)
  expect(kept).toEqual(new Set([name]))
  await append(store, 'run-1', [newEvent({ name })])
  artifacts.beginRemoval()
  const removal = artifacts.removeUnnamed(name)
  release()
  await removal
  expect(kept).toEqual(new Set())
})

test('what is put during its removal, or while it is searched who names it, is there afterwards', async () => {
  const { artifacts, kept, release } = setup()
  artifacts.beginRemoval()
  const name = await artifacts.put('a')
  await artifacts.removeUnnamed(name)
  expect(kept).toEqual(new Set([name]))
  const other = sha256('b')
  kept.add(other)
  const removal = artifacts.removeUnnamed(other)
  const put = artifacts.put('b')
  release()
  await removal
  expect(await put).toBe(other)
  expect(kept).toContain(other)
})
