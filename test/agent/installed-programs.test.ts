import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { InstalledPrograms } from '../../src/agent/installed-programs.ts'
import type { CommandResult } from '../../src/runner/command.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'retrai-programs-'))
  for (const project of ['a', 'b', 'pinned/deep']) {
    await mkdir(join(root, project), { recursive: true })
  }
  await writeFile(join(root, 'pinned/.python-version'), '3.9')
})
afterEach(() => rm(root, { recursive: true, force: true }))

const signal = new AbortController().signal
const projectAt = (folder: string) => ({ cwd: join(root, folder), policy: undefined })

/** Programs of a machine on which each look finds another version. `ends` are the outcomes of the looks. */
function programsOf(...ends: CommandResult['end'][]) {
  const asked: string[] = []
  const programs = new InstalledPrograms(async ({ cwd }) => {
    asked.push(cwd)
    const stdout = `node: v${asked.length}\nbun: v1\n`
    const rest = { exitCode: 0, stderr: '', output: stdout, bytes: 0, durationMs: 1 }
    return { end: ends.shift() ?? 'exited', stdout, ...rest }
  })
  return { programs, asked }
}

test('runs that begin soon after each other share one look', async () => {
  const { programs, asked } = programsOf()
  const found = ['a', 'b'].map((name) => programs.seenFrom(projectAt(name), signal))
  expect(await Promise.all(found)).toEqual(['bun: v1\nnode: v1', 'bun: v1\nnode: v1'])
  expect(asked).toEqual([join(root, 'a')])
})

test('a project whose folder chooses versions gets a look of its own', async () => {
  const { programs } = programsOf()
  await programs.seenFrom(projectAt('a'), signal)
  expect(await programs.seenFrom(projectAt('pinned/deep'), signal)).toContain('node: v2')
  expect(await programs.seenFrom(projectAt('b'), signal)).toContain('node: v1')
})

test('a look that failed is repeated by the next run', async () => {
  const { programs } = programsOf('timed_out')
  expect(await programs.seenFrom(projectAt('a'), signal)).toBeNull()
  expect(await programs.seenFrom(projectAt('a'), signal)).toContain('node: v2')
})

test('a run gets its own answer if the run that asked before it was aborted', async () => {
  const { programs } = programsOf('aborted')
  const found = ['a', 'b'].map((name) => programs.seenFrom(projectAt(name), signal))
  expect(await Promise.all(found)).toEqual([null, 'bun: v1\nnode: v2'])
})
