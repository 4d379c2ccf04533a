import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TreeFile } from '../../src/snapshots/compare-trees.ts'
import { patchOf } from '../../src/snapshots/patch.ts'
import { betweenOf, leftOutChanges } from '../../web/src/changes/between.ts'
import { fileLines, hunkLines } from '../../web/src/changes/hunk-lines.ts'
import { treeOf } from '../../web/src/changes/tree.ts'
import { EMPTY_VIEW } from '../../web/src/run/run-view.ts'

const lines = fc.array(fc.constantFrom('a', 'b', '', '-- x', '++ y', '\\', '@@ -1 +1 @@'), {
  maxLength: 40,
})
const texts = fc
  .tuple(lines, fc.boolean())
  .map(([all, ends]) => all.join('\n') + (ends ? '\n' : ''))

const file = (id: string): TreeFile => ({ mode: '100644', id })

test('the lines of a patch have the numbers that they have in the files', async () => {
  const split = (text: string) => fileLines(text).map((line) => line.text)
  await fc.assert(
    fc.asyncProperty(texts, texts, async (old, fresh) => {
      fc.pre(old !== fresh)
      const change = { path: 'a b', status: 'modified', old: file('0'), new: file('1') } as const
      const read = async (id: string) => Buffer.from(id === '0' ? old : fresh)
      const patch = await patchOf([change], read)
      const shown = hunkLines(patch.toString()).filter(({ type }) => type !== 'mark')
      for (const line of shown) {
        if (line.old !== null) expect(split(old)[line.old - 1]).toBe(line.text)
        if (line.new !== null) expect(split(fresh)[line.new - 1]).toBe(line.text)
      }
      const rebuilt = split(old)
      for (const { old: at } of shown.filter(({ type }) => type === 'removed').reverse()) {
        rebuilt.splice((at ?? 0) - 1, 1)
      }
      for (const { new: at, text } of shown.filter(({ type }) => type === 'added')) {
        rebuilt.splice((at ?? 0) - 1, 0, text)
      }
      expect(rebuilt).toEqual(split(fresh))
    }),
  )
})

test('a tree has every file once, and no folder that holds only a folder', () => {
  const names = fc.constantFrom('a', 'b', 'c')
  const paths = fc.uniqueArray(
    fc.array(names, { minLength: 1, maxLength: 4 }).map((p) => p.join('/')),
  )
  fc.assert(
    fc.property(paths, (all) => {
      const found: string[] = []
      const visit = (nodes: ReturnType<typeof treeOf>): void => {
        for (const { value, children } of nodes) {
          if (children === undefined) found.push(value)
          else {
            expect(value).toMatch(/\/$/)
            expect(children.length === 1 && children[0]?.children !== undefined).toBe(false)
            visit(children)
          }
        }
      }
      visit(treeOf(all))
      expect(found.toSorted()).toEqual(all.toSorted())
    }),
  )
  expect(treeOf(['docs/deep/a.md'])).toEqual([
    {
      value: 'docs/deep/',
      label: 'docs/deep',
      children: [{ value: 'docs/deep/a.md', label: 'a.md' }],
    },
  ])
})

test('the changes of a run, or of an iteration, are those between its snapshots up to a moment', () => {
  const view = { ...EMPTY_VIEW, filesAt: [3, 8, 12, 20], iterationStarts: [2, 10, 15] }
  const between = (moment: number, scope: 'run' | number) => {
    const found = betweenOf(view, moment, scope)
    return found && [found.from, found.to]
  }
  expect(between(2, 'run')).toBeNull()
  expect(between(3, 'run')).toEqual([3, 3])
  expect(between(13, 'run')).toEqual([3, 12])
  expect(between(99, 'run')).toEqual([3, 20])
  expect(between(99, 1)).toEqual([3, 8])
  expect(between(99, 2)).toEqual([8, 12])
  expect(between(11, 2)).toEqual([8, 8])
  expect(between(99, 3)).toEqual([12, 20])
  // An iteration that has not begun: the one at work.
  expect(between(9, 3)).toEqual([3, 8])
  expect(betweenOf({ ...view, filesAt: [] }, 99, 'run')).toBeNull()
})

test('of what snapshots leave out, it is known what appeared, changed and went', () => {
  const large = (path: string, size: number) => ({ path, why: 'large', size }) as const
  const folder = { path: 'node_modules', why: 'ignored' } as const
  const before = [large('a', 1), folder, large('b', 2)]
  const after = [folder, large('b', 3), large('c', 4)]
  const told = (old: typeof before | null) =>
    leftOutChanges(old, after).map(({ entry, change }) => `${entry.path} ${change}`)
  expect(told(before)).toEqual(['node_modules null', 'b changed', 'c new', 'a gone'])
  expect(told(null)).toEqual(['node_modules null', 'b null', 'c null'])
})
