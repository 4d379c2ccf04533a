import { randomUUID } from 'node:crypto'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import type { Checkpoint } from '../../src/api/audit.ts'
import { keepCheckpoint, readKeptCheckpoints } from '../../src/checkpoints/kept-checkpoints.ts'
import { testFolder } from '../store/embedded/support.ts'
import { checkpoint } from './checkpoint.ts'

let folder: string
beforeEach(async () => {
  folder = await testFolder()
})

const keep = async (...checkpoints: readonly Checkpoint[]): Promise<void> => {
  for (const each of checkpoints) await keepCheckpoint(folder, each)
}
const kept = async (): Promise<unknown> =>
  (await readKeptCheckpoints(folder))
    .map(({ file, checkpoint }) => `${file.split('-')[0]} ${checkpoint?.number ?? 'unreadable'}`)
    .sort()

test('the last checkpoint replaces the one before it', async () => {
  await keep(checkpoint(1), checkpoint(2), checkpoint(7))
  expect(await readdir(folder)).toEqual(['last-checkpoint.json'])
  expect(await kept()).toEqual(['last 7'])
})

test.each([
  ['an earlier number', checkpoint(3)],
  ['the same number', { ...checkpoint(7), root: 'd'.repeat(64) }],
  ['another log', checkpoint(8, randomUUID())],
])(
  'a checkpoint with %s does not overwrite the one that shows that the log was replaced',
  async (_, next) => {
    await keep(checkpoint(7), next, { ...next, number: next.number + 1 })
    expect(await kept()).toEqual([`last ${next.number + 1}`, 'lost 7'])
  },
)

test.each([
  ['is not JSON', (file: string) => writeFile(file, '{')],
  ['is empty', (file: string) => writeFile(file, '')],
  ['has another shape', (file: string) => writeFile(file, JSON.stringify({ number: 7 }))],
  ['cannot be read', (file: string) => mkdir(file)],
])('a file that %s is kept as evidence, and no checkpoint overwrites it', async (_, make) => {
  await make(join(folder, 'last-checkpoint.json'))
  expect(await kept()).toEqual(['last unreadable'])
  await keep(checkpoint(1), checkpoint(2))
  expect(await kept()).toEqual(['last 2', 'lost unreadable'])
  const unreadable = expect.stringMatching(/^lost-checkpoint-unreadable-[0-9a-f]{8}\.json$/)
  expect((await readdir(folder)).sort()).toEqual(['last-checkpoint.json', unreadable])
})

test('a folder that does not exist has no checkpoints', async () => {
  expect(await readKeptCheckpoints(join(folder, 'missing'))).toEqual([])
})
