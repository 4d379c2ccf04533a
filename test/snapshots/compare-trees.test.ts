import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareTrees } from '../../src/snapshots/compare-trees.ts'
import { twoProjects } from './arbitraries.ts'
import { type Files, filesOf, Objects } from './support.ts'

/** `status path`, with where a renamed file was. */
async function changesOf(from: Files, to: Files): Promise<string[]> {
  const { changes } = await new Objects().compare(from, to)
  return changes.map(({ status, path, oldPath }) =>
    oldPath === undefined ? `${status} ${path}` : `${status} ${oldPath} to ${path}`,
  )
}

test('the changes make the second tree of the first', async () => {
  await fc.assert(
    fc.asyncProperty(twoProjects, async ([from, to]) => {
      const objects = new Objects()
      const { changes, unknown } = await objects.compare(from, to)
      expect(unknown).toEqual([])
      expect(changes).toEqual(
        changes.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)),
      )
      for (const { path, oldPath = path, old } of changes)
        if (old !== null) expect(from.get(oldPath)?.mode).toBe(old.mode)
      expect(objects.add(objects.withChanges(from, changes))).toBe(objects.add(to))
    }),
    { numRuns: 60 },
  )
})

test('every kind of change has its name', async () => {
  const from = new Map([
    ...filesOf({ changed: '1', 'd/gone': '1', same: '1', moved: 'moved', 'x/to-file': '1' }),
    ...filesOf({ mode: '1', both: '1' }),
    ...filesOf({ link: '1' }, '120000'),
  ])
  const to = new Map([
    ...filesOf({ changed: '2', fresh: '3', same: '1', 'd/moved': 'moved', x: '4', link: '1' }),
    ...filesOf({ mode: '1', both: '2' }, '100755'),
  ])
  expect(await changesOf(from, to)).toEqual([
    'modified both',
    'modified changed',
    'deleted d/gone',
    'renamed moved to d/moved',
    'added fresh',
    'deleted link',
    'added link',
    'mode mode',
    'added x',
    'deleted x/to-file',
  ])
})

test('no tree that both have in the same place is read', async () => {
  const objects = new Objects()
  const same = { 'a/x': '1', 'a/b/y': '1' }
  await objects.compare(filesOf({ ...same, 'c/z': '1' }), filesOf({ ...same, 'c/z': '2' }))
  expect(objects.read).toHaveLength(4)
  await objects.compare(filesOf(same), filesOf(same))
  expect(objects.read).toHaveLength(4)
})

test('no tree is a tree without files', async () => {
  const objects = new Objects()
  const id = objects.add(filesOf({ 'a/b': '1' }))
  const status = async (from: string | null, to: string | null) =>
    (await compareTrees(from, to, objects.readTree)).changes.map((change) => change.status)
  expect(await status(null, id)).toEqual(['added'])
  expect(await status(id, null)).toEqual(['deleted'])
  expect(await status(null, null)).toEqual([])
})

test('a folder of which a tree is not available is named, and so is the whole project', async () => {
  const objects = new Objects()
  const from = objects.add(filesOf({ 'a/b/c': '1', 'a/d': '1' }))
  const to = objects.add(filesOf({ 'a/b/c': '2', 'a/d': '2' }))
  objects.trees.delete(objects.add(filesOf({ c: '1' })))
  const some = await compareTrees(from, to, objects.readTree)
  expect(some).toMatchObject({ changes: [{ path: 'a/d' }], unknown: ['a/b'] })
  objects.trees.delete(to)
  expect(await compareTrees(from, to, objects.readTree)).toEqual({ changes: [], unknown: [''] })
})

test('a file with the same content elsewhere was renamed, unless it is empty', async () => {
  const from = filesOf({ 'a/one': 'x', 'a/two': 'x', 'a/z': 'x', empty: '' })
  const to = filesOf({ 'b/three': 'x', 'b/two': 'x', 'new-empty': '' })
  expect(await changesOf(from, to)).toEqual([
    'deleted a/z',
    'renamed a/one to b/three',
    'renamed a/two to b/two',
    'deleted empty',
    'added new-empty',
  ])
})
