import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { folderAt } from '../../src/runner/isolation/project-folder.ts'
import type { StartProcess } from '../../src/runner/start-process.ts'
import { keptWorkspaces } from '../../src/workspace/kept-workspaces.ts'
import { startProcess } from '../runner/support.ts'

let base: string

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'retrai-kept-'))
})
afterEach(async () => {
  vi.useRealTimers()
  await rm(base, { recursive: true, force: true })
})

async function projectAt(name: string) {
  const cwd = join(base, name)
  await mkdir(cwd)
  await writeFile(join(cwd, 'file'), name)
  return { cwd, folder: folderAt(cwd) }
}

/** Counts the programs that are started. */
function counted() {
  const start = vi.fn<StartProcess>(startProcess)
  return { open: keptWorkspaces(start), programs: () => start.mock.calls.length }
}

const sees = async (workspace: ReturnType<ReturnType<typeof keptWorkspaces>>): Promise<boolean> =>
  (await workspace.ask('resolve', { paths: ['file'] })).isOk()

test('looks at one folder share a program, also one after the other', async () => {
  const { open, programs } = counted()
  const project = await projectAt('a')
  for (let look = 0; look < 3; look += 1) {
    await using one = open(project)
    await using other = open(project)
    expect(await Promise.all([sees(one), sees(other)])).toEqual([true, true])
  }
  expect(programs()).toBe(1)
})

test('another folder, also at the same path, has a program of its own', async () => {
  const { open, programs } = counted()
  const project = await projectAt('a')
  await sees(open(project))
  await rm(project.cwd, { recursive: true })
  // Held, so that its inode is not given away again.
  await mkdir(join(base, 'other'))
  const replaced = await projectAt('a')
  if (replaced.folder.inode === project.folder.inode) return
  expect(await sees(open(replaced))).toBe(true)
  expect(programs()).toBe(2)
})

test('the program ends a while after the last look', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const { open, programs } = counted()
  const project = await projectAt('a')
  for (const pause of [9_000, 11_000, 0]) {
    {
      await using files = open(project)
      expect(await sees(files)).toBe(true)
    }
    await vi.advanceTimersByTimeAsync(pause)
  }
  expect(programs()).toBe(2)
})
