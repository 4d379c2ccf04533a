import { expect, test } from 'vitest'
import type { TreeChange } from '../../src/snapshots/compare-trees.ts'
import { diffFile } from '../../src/snapshots/file-diff.ts'

const change: TreeChange = {
  path: 'a',
  status: 'modified',
  old: { mode: '100644', id: 'old' },
  new: { mode: '100644', id: 'new' },
}
const diff = (old: string, fresh: string) =>
  diffFile(change, async (id) => Buffer.from(id === 'old' ? old : fresh))

test('lines are counted, and hunks say where they are', async () => {
  const lines = Array.from({ length: 30 }, (_, at) => `${at + 1}\n`)
  const fresh = lines.with(4, 'five\n').toSpliced(20, 2)
  const found = await diff(lines.join(''), fresh.join(''))
  expect(found).toMatchObject({ additions: 1, deletions: 3, binary: false })
  expect(found?.hunks).toMatchObject([
    { oldStart: 2, oldLines: 7, newStart: 2, newLines: 7 },
    { oldStart: 18, oldLines: 8, newStart: 18, newLines: 6 },
  ])
  expect(found?.hunks[0]?.lines.slice(2, 6)).toEqual([' 4', '-5', '+five', ' 6'])
})

test('a file with a NUL byte at its start is binary, and its lines do not count', async () => {
  expect(await diff('a\n', 'a\0\n')).toMatchObject({ binary: true, additions: 0, hunks: [] })
  expect(await diff('a\n', `${'a\n'.repeat(4000)}\0`)).toMatchObject({
    binary: false,
    additions: 4000,
  })
})

test('so is one with very many lines', async () => {
  expect(await diff('', '\n'.repeat(200_000))).toMatchObject({ binary: false, additions: 200_000 })
  expect(await diff('\n'.repeat(200_001), 'a\n')).toMatchObject({ binary: true, hunks: [] })
})

test('a file that was only renamed or got a mode is not read', async () => {
  const same = { ...change, new: { mode: '100755' as const, id: 'old' } }
  const read = () => Promise.reject(new Error('read'))
  expect(await diffFile(same, read)).toMatchObject({ additions: 0, hunks: [], contents: null })
})

test('where few lines are the same, all between the first and the last difference is replaced', async () => {
  const text = (seed: number) =>
    Array.from({ length: 4000 }, (_, at) => `${((at + 1) * seed) % 997}\n`).join('')
  const found = await diff(`start\n${text(7)}end\n`, `start\n${text(31)}end\n`)
  expect(found?.hunks).toMatchObject([{ oldStart: 1, oldLines: 4002, newLines: 4002 }])
  expect(found).toMatchObject({ additions: 4000, deletions: 4000 })
})

test('it is null if a content was not kept', async () => {
  expect(await diffFile(change, async (id) => (id === 'old' ? null : Buffer.from('')))).toBe(null)
})
