import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import {
  decodeTree,
  EMPTY_TREE,
  encodeTree,
  type GitObject,
  objectId,
} from '../../src/lib/git-objects.ts'
import { readPack } from '../../src/lib/git-pack.ts'
import { writePack } from '../../src/lib/write-pack.ts'
import { isMissing } from '../support/missing.ts'

const dir = mkdtempSync(join(tmpdir(), 'retrai-pack-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const git = (...args: string[]) => execFileSync('git', args, { cwd: dir, encoding: 'utf8' })

const blob = (content: Buffer): GitObject => ({
  id: objectId('blob', content),
  type: 'blob',
  content,
})

const contents = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.nat(30_000).map((length) => Buffer.alloc(length, 'abc ')),
)

test('what is written to a pack is read from it, and the same objects give the same bytes', () => {
  fc.assert(
    fc.property(fc.array(contents, { maxLength: 20 }), (all) => {
      const objects = all.map((content) => blob(Buffer.from(content)))
      const pack = writePack(objects)
      expect(readPack(pack)._unsafeUnwrap()).toEqual(objects)
      expect(writePack(objects).equals(pack)).toBe(true)
    }),
    { numRuns: 40 },
  )
})

test('a pack in which a byte was changed, or that was cut, is refused', () => {
  const pack = writePack([blob(Buffer.from('one')), blob(Buffer.from('two'))])
  for (let at = 0; at < pack.length; at += 1) {
    const changed = Buffer.from(pack)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(readPack(changed).isErr()).toBe(true)
    expect(readPack(pack.subarray(0, at)).isErr()).toBe(true)
  }
})

test.skipIf(isMissing('git'))('git reads the pack, and gives the same ids and trees', () => {
  git('init', '-q', '--object-format=sha256')
  const objects = ['a', 'b', '', 'x'.repeat(70_000)].map((text) => blob(Buffer.from(text)))
  const [first, second, empty] = objects.map(({ id }) => id)
  const content = encodeTree([
    { mode: '100644', name: 'a.txt', id: first ?? '' },
    { mode: '40000', name: 'a', id: EMPTY_TREE },
    { mode: '100755', name: 'a-b', id: second ?? '' },
    { mode: '120000', name: '\xff\xfe', id: empty ?? '' },
  ])
  const tree: GitObject = { id: objectId('tree', content), type: 'tree', content }
  const nothing: GitObject = { id: EMPTY_TREE, type: 'tree', content: Buffer.alloc(0) }
  const pack = join(dir, 'one.pack')
  writeFileSync(pack, writePack([...objects, nothing, tree]))
  git('index-pack', pack)
  const shown = git('verify-pack', '-v', pack)
  for (const { id, type } of [...objects, nothing, tree]) expect(shown).toContain(`${id} ${type}`)
})

test('a tree that git would not write is refused', () => {
  const entry = (name: string) => ({ mode: '100644' as const, name, id: EMPTY_TREE })
  const whole = encodeTree([entry('a'), entry('b')])
  expect(decodeTree(whole)).toEqual([entry('a'), entry('b')])
  const [a, b] = [encodeTree([entry('a')]), encodeTree([entry('b')])]
  const refused = [
    Buffer.concat([b, a]),
    Buffer.concat([a, a]),
    whole.subarray(0, 40),
    ...['..', '.', 'a/b'].map((name) => encodeTree([entry(name)])),
  ]
  expect(refused.map(decodeTree)).toEqual(refused.map(() => null))
})
