import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { FolderLocks } from '../../src/carry/folder-locks.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { folderAt } from '../../src/sandbox/project-folder.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../agent/support.ts'

/** A run that waits for a person after its first iteration, and one that reaches its goal. */
const WAITS = { hitl_enabled: true } as const
const answer = { type: 'respond', decision: 'abort', reason: null, answers: null } as const

async function created(shop: Workshop, folder: string, changes: Partial<RunConfig> = {}) {
  const cwd = join(shop.project, folder)
  await mkdir(cwd, { recursive: true })
  return shop.create({ cwd, ...changes }, { project: folderAt(cwd) })
}

test('a run in a folder inside of that of an earlier one waits for it, and names it', async () => {
  await using shop = await Workshop.open([{ text: 'Nothing yet.' }, { calls: [reachGoal] }])
  shop.isShared = false
  shop.startAgent()
  const one = await created(shop, 'a', WAITS)
  await shop.until(one, 'human_check_required')
  const two = await created(shop, 'a/b')
  const queued = await shop.until(two, 'run_queued')
  expect(only(queued, 'run_queued').payload.reason).toContain(`It waits for the run ${one},`)
  expect(queued.map(({ kind }) => kind)).toEqual(['run_created', 'run_queued'])
  await shop.command(one, answer)
  const ended = await shop.until(two, 'run_end')
  const after = only(await shop.records(one), 'run_end').ts
  expect(only(ended, 'run_claimed').ts).toBeGreaterThanOrEqual(after)
  expect(payloadsOf(ended, 'run_queued')).toHaveLength(1)
})

test('shared runs wait for nobody, and nobody for them; other folders are free', async () => {
  await using shop = await Workshop.open([{ text: 'Nothing yet.' }])
  shop.isShared = false
  shop.startAgent()
  const one = await created(shop, 'a', WAITS)
  await shop.until(one, 'human_check_required')
  for (const [folder, changes] of [
    ['a', { shared: true }],
    ['ab', {}],
  ] as const) {
    await shop.until(await created(shop, folder, { max_iterations: 1, ...changes }), 'run_end')
  }
  const other = await created(shop, 'c', { ...WAITS, shared: true })
  await shop.until(other, 'human_check_required')
  await shop.until(await created(shop, 'c', { max_iterations: 1 }), 'run_end')
})

test('the order of the log decides, and a run that a person aborts waits no more', async () => {
  await using shop = await Workshop.open([{ text: 'Nothing yet.' }])
  shop.isShared = false
  const ids = [
    await created(shop, 'a', WAITS),
    await created(shop, 'a', WAITS),
    await created(shop, 'a'),
  ]
  const [one = '', two = '', three = ''] = ids
  const folder = folderAt(join(shop.project, 'a')).path
  const locks = new FolderLocks()
  shop.startAgent({ locks })
  await shop.until(one, 'human_check_required')
  const reasonOf = async (id: string) =>
    only(await shop.until(id, 'run_queued'), 'run_queued').payload.reason
  expect(await reasonOf(two)).toContain(one)
  expect(await reasonOf(three)).toContain(one)
  expect(locks.holderOf({ runId: randomUUID(), folder, pool: 'x' })).toBe(one)
  await shop.command(two, { type: 'abort', reason: null })
  await shop.command(one, answer)
  await shop.until(three, 'run_end')
})

test('files are carried into a folder while no other run holds it, and no run begins meanwhile', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.isShared = false
  const locks = new FolderLocks()
  shop.startAgent({ locks })
  const one = await created(shop, 'a')
  await shop.until(one, 'run_end')
  const folder = folderAt(join(shop.project, 'a')).path
  await vi.waitFor(() => expect(locks.borrow({ runId: one, folder, pool: null }).isOk()).toBe(true))
  expect(locks.borrow({ runId: one, folder: `${folder}/b`, pool: null })._unsafeUnwrapErr()).toBe(
    null,
  )
  const two = await created(shop, 'a')
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect((await shop.records(two)).map(({ kind }) => kind)).toEqual(['run_created'])
})

test('a run in a copy does not hide one that holds the project', () => {
  const locks = new FolderLocks()
  locks.add({ runId: 'copied', folder: '/copies/copied/a', pool: null })
  locks.add({ runId: 'placed', folder: '/a', pool: null })
  const asked = { runId: 'copied', folder: '/a', pool: null }
  expect(locks.borrow(asked)._unsafeUnwrapErr()).toBe('placed')
})

test('of runs in one folder, only the first holds it; each comes when those before it have ended', () => {
  const folders = fc.constantFrom('/a', '/a/b', '/a/b/c', '/ab', '/d')
  fc.assert(
    fc.property(
      fc.array(folders, { maxLength: 8 }),
      fc.infiniteStream(fc.nat()),
      (all, choices) => {
        const locks = new FolderLocks()
        const left = all.map((folder, at) => ({ runId: `${at}`, folder, pool: null }))
        for (const run of left) locks.add(run)
        while (left.length > 0) {
          const free = left.filter((run) => locks.holderOf(run) === null)
          expect(free.length).toBeGreaterThan(0)
          for (const one of free) {
            for (const other of free) {
              const isApart = one === other || !`${one.folder}/`.startsWith(`${other.folder}/`)
              expect(isApart).toBe(true)
            }
          }
          const ended = free[Number(choices.next().value) % free.length]
          if (ended === undefined) return
          locks.remove(ended.runId)
          left.splice(left.indexOf(ended), 1)
        }
      },
    ),
  )
})
