import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { patchOf } from '../../src/snapshots/patch.ts'
import { isMissing } from '../support/missing.ts'
import { twoProjects } from './arbitraries.ts'
import { Repository } from './repository.ts'
import { type Files, filesOf, Objects } from './support.ts'

let repository: Repository
if (!isMissing('git')) {
  beforeAll(() => {
    repository = new Repository()
  })
  afterAll(() => repository.remove())
}

/** As text, so that a difference can be read. */
const shown = (files: Files): string[] =>
  [...files]
    .map(([path, { mode, content }]) => JSON.stringify([path, mode, content.toString('latin1')]))
    .toSorted()

async function expectPatchBetween(from: Files, to: Files): Promise<void> {
  const objects = new Objects()
  const { changes } = await objects.compare(from, to)
  const patch = await patchOf(changes, objects.readBlob)
  repository.write(from)
  repository.apply(patch)
  expect(shown(repository.read())).toEqual(shown(to))
}

describe.skipIf(isMissing('git'))('git applies the patch', () => {
  test('between any two projects, which gives the second byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(twoProjects, ([from, to]) => expectPatchBetween(from, to)),
      { numRuns: 40 },
    )
  })

  const text = 'one\ntwo\nthree\n'
  const link: Files = filesOf({ a: 'c' }, '120000')
  const CHANGED: Readonly<Record<string, readonly [from: Files, to: Files]>> = {
    'a file that becomes a folder': [filesOf({ a: text }), filesOf({ 'a/a': text, 'a/b': 'x' })],
    'a folder that becomes a file': [filesOf({ 'a/a': 'x', 'a/b': 'y' }), filesOf({ a: 'y' })],
    'a file that becomes a link': [filesOf({ a: 'c' }), link],
    'a link that becomes a file': [link, filesOf({ a: 'c' })],
    'a link to a folder that becomes a folder with the same names': [
      new Map([...filesOf({ 'c/x': text }), ...link]),
      filesOf({ 'c/x': text, 'a/x': text }),
    ],
    'a folder that becomes a link to a folder with the same names': [
      filesOf({ 'c/x': text, 'a/x': text }),
      new Map([...filesOf({ 'c/x': text }), ...link]),
    ],
    'a link that moves into a folder of its name': [
      filesOf({ a: 'c' }, '120000'),
      filesOf({ 'a/a': 'c' }, '120000'),
    ],
    'a link to another target': [link, filesOf({ a: 'd/e' }, '120000')],
    'a mode': [filesOf({ a: text }), filesOf({ a: text }, '100755')],
    'a mode and a content': [filesOf({ a: text }, '100755'), filesOf({ a: `${text}4` })],
    'a renamed file with another mode': [
      filesOf({ 'a b': text }),
      filesOf({ '\xffb': text }, '100755'),
    ],
    'empty files': [filesOf({ 'a ': '', b: 'x' }), filesOf({ b: '', ' c': '' })],
    'a NUL byte after those that are looked at': [
      filesOf({ a: text }),
      filesOf({ a: `${text.repeat(600)}\0\n` }),
    ],
    'a text that becomes binary': [
      filesOf({ a: text }),
      filesOf({ a: Buffer.alloc(70_000, '\0abc') }),
    ],
    'a line without an end, then with one': [filesOf({ a: 'x\ny' }), filesOf({ a: 'x\ny\n' })],
    'every line': [filesOf({ a: 'x\n'.repeat(5000) }), filesOf({ a: 'y\n'.repeat(5000) })],
    'more lines between others than are compared': [
      filesOf({ a: `${text}end` }),
      filesOf({ a: `${text}${'y\n'.repeat(3000)}end` }),
    ],
    'all files': [filesOf({ 'a/b/c': text, d: 'x' }), new Map()],
  }
  test.each(Object.entries(CHANGED))('of %s', async (_, [from, to]) => {
    await expectPatchBetween(from, to)
  })
})

test.skipIf(isMissing('git'))('it is what git itself writes', async () => {
  const lines = Array.from({ length: 20 }, (_, at) => `${at}\n`)
  const before = {
    'b\xc3\xa4r "1"\x7f': 'same\n',
    'gone x': 'a\n',
    empty: '',
    mode: 'x\n',
    to: 'link',
  }
  const from = filesOf({ ...before, 'text.txt': lines.join('') })
  const to = new Map([
    ...filesOf({ moved: 'same\n', mode: 'x\n', 'new\t': 'x\n\n' }, '100755'),
    ...filesOf({ 'text.txt': `${lines.with(2, '').join('')}no end` }),
    ...filesOf({ to: 'link' }, '120000'),
  ])
  const objects = new Objects()
  const { changes } = await objects.compare(from, to)
  const patch = await patchOf(changes, objects.readBlob)
  expect(patch.toString('latin1')).toBe(repository.diff(from, to))
})

test.skipIf(isMissing('git'))('git takes it back, binary files too', async () => {
  const from = filesOf({ a: Buffer.alloc(300, '\0abc'), b: 'text', 'd/e': 'moved' })
  const to = filesOf({ a: Buffer.alloc(52, '\0'), c: Buffer.from('new\0'), 'd/f': 'moved' })
  const objects = new Objects()
  const { changes } = await objects.compare(from, to)
  const patch = await patchOf(changes, objects.readBlob)
  repository.write(to)
  repository.apply(patch, '--reverse')
  expect(shown(repository.read())).toEqual(shown(from))
})

test('a file whose content was not kept is not in it', async () => {
  const from = filesOf({ a: 'old', b: 'old', c: 'moved' })
  const to = filesOf({ a: 'new', b: 'other', d: 'moved' })
  const objects = new Objects()
  const { changes } = await objects.compare(from, to)
  const patch = await patchOf(changes, async (id) => {
    const content = await objects.readBlob(id)
    return ['new', 'moved'].includes(`${content}`) ? null : content
  })
  expect(`${patch}`.match(/^diff .*/gm)).toEqual(['diff --git a/b b/b', 'diff --git a/c b/d'])
})
