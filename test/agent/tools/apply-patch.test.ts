import { chmod, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyParts, parsePatch } from '../../../src/agent/tools/apply-patch.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { allFilesOf, projectWith } from './support.ts'

const patchOf = (...lines: readonly string[]): { readonly input: string } => ({
  input: ['*** Begin Patch', ...lines, '*** End Patch', ''].join('\n'),
})

describe('apply_patch', () => {
  test('updates, adds, deletes and moves files with one patch', async () => {
    const { cwd, run } = await projectWith({
      'a.py':
        'class A:\n    def f(self):\n        return 1\n\nclass B:\n    def f(self):\n        return 1\n',
      'b.txt': 'b\n',
      'run.sh': 'one\r\ntwo\r\n',
    })
    await chmod(join(cwd, 'run.sh'), 0o755)
    const result = await run(
      'apply_patch',
      patchOf(
        '*** Update File: a.py',
        '@@ class B:',
        '     def f(self):',
        '-        return 1',
        '+        return 2',
        '*** Add File: new/c.txt',
        '+c',
        '+',
        '*** Delete File: b.txt',
        '*** Update File: run.sh',
        '*** Move to: bin/run.sh',
        '@@',
        ' one',
        '-two',
        '+2',
        '+3',
      ),
    )
    expect(result.output).toBe('Done:\nM a.py\nA new/c.txt\nD b.txt\nR run.sh → bin/run.sh')
    expect(await allFilesOf(cwd)).toEqual({
      'a.py':
        'class A:\n    def f(self):\n        return 1\n\nclass B:\n    def f(self):\n        return 2\n',
      'new/c.txt': 'c\n\n',
      'bin/run.sh': 'one\r\n2\r\n3\r\n',
    })
    expect((await stat(join(cwd, 'bin/run.sh'))).mode & 0o777).toBe(0o755)
  })

  const REFUSED = [
    [
      ['*** Update File: a', '-gone', '+x'],
      'The part of the patch that begins with "gone" occurs 0 times in a',
    ],
    [['*** Update File: a', '-x', '+y'], 'occurs 2 times in a (lines 1, 3)'],
    [['*** Update File: a', '@@ none', '-x', '+y'], '"@@ none" occurs 0 times in a'],
    [['*** Update File: none', '-x', '+y'], 'does not exist'],
    [['*** Delete File: none'], 'does not exist'],
    [['*** Add File: a', '+x'], 'exists already'],
    [['*** Update File: a', '*** Move to: b', ' y'], 'b exists already'],
    [['*** Update File: ../outside/x', '-x', '+y'], 'outside the project'],
    [['*** Add File: .git/hooks/post-commit', '+x'], 'git or this server obeys it'],
    [['*** Add File: folder', '+x'], 'exists already'],
    [['*** Update File: a', 'x'], 'must be a line with a space'],
    [['*** Add File: c', 'x'], 'must be a line of the new file'],
    [['*** Delete File: b', 'nonsense'], 'must be "*** Update File: path"'],
    [['*** Update File: a'], 'changes nothing in a'],
    [['*** Update File: a', ' y'], 'changes nothing in a'],
    [['*** Delete File: a', '*** Add File: ./a', '+x'], 'exists already'],
    [['*** Delete File: a', '*** Update File: a', '-y', '+x'], 'names a twice'],
  ] as const

  test('changes no file if one of its changes is not possible', async () => {
    const files = { a: 'x\ny\nx\n', b: 'b\n', 'folder/c': 'c\n' }
    const { cwd, run } = await projectWith(files)
    const cut = await run('apply_patch', { input: '*** Begin Patch\n*** Delete File: a\n' })
    expect(cut.output).toContain('it may be cut off')
    const possible = ['*** Update File: b', '-b', '+B', '*** Add File: deep/new', '+n']
    for (const [lines, words] of REFUSED) {
      const first = words.includes('changes nothing') ? [] : possible
      const result = await run('apply_patch', patchOf(...first, ...lines))
      expect(result, lines.join('\n')).toMatchObject({ outcome: 'error' })
      expect(result.output).toContain(words)
      expect(await allFilesOf(cwd)).toEqual(files)
      expect((await readdir(cwd)).sort()).toEqual(['a', 'b', 'folder'])
    }
  })

  test('follows no link out of the project', async () => {
    const { cwd, outside, run } = await projectWith({ a: 'a\n' })
    await symlink(outside, join(cwd, 'link'))
    const patch = patchOf('*** Update File: a', '*** Move to: link/a', '-a', '+b')
    expect((await run('apply_patch', patch)).output).toContain('outside the project')
    expect(await readdir(outside)).toEqual([])
  })
})

describe('the parts of a patch', () => {
  /** A text after a patch of it with these lines. */
  function patched(text: string, lines: readonly string[]): string {
    const { input } = patchOf('*** Update File: x', ...lines)
    const [file] = parsePatch(input)._unsafeUnwrap()
    const parts = file?.type === 'update' ? file.parts : []
    return applyParts('x', text, parts)._unsafeUnwrap()
  }

  const line = fc.constantFrom('a', '  b', 'c ', '', '\td')
  test('change their own lines and nothing else, with the line ends of the file', () => {
    const lines = fc.array(line, { maxLength: 6 })
    const end = fc.constantFrom('\n', '\r\n')
    fc.assert(
      fc.property(lines, lines, lines, end, (before, after, fresh, end) => {
        const text = [...before, 'here', ...after, ''].join(end)
        const result = patched(text, ['-here', ...fresh.map((one) => `+${one}`)])
        expect(result).toBe([...before, ...fresh, ...after, ''].join(end))
      }),
    )
  })

  test.each([
    ['a\nb', ['+c'], 'a\nb\nc'],
    ['a\nb\n', ['+c'], 'a\nb\nc\n'],
    ['a\nb', [' b', '+c'], 'a\nb\nc'],
    ['a\nx\n', ['-x', '+b', '*** End of File'], 'a\nb\n'],
    [
      'def f():\n  a\ndef g(x):\n  a\n',
      ['@@ def g', '+  b'],
      'def f():\n  a\ndef g(x):\n  b\n  a\n',
    ],
    ['a\ndef f():\n  a\n', ['@@ def f():', ' def f():', '-  a', '+  b'], 'a\ndef f():\n  b\n'],
    ['a\r\nb\r\nc\n', [' a', '-b', '+B', ' c'], 'a\r\nB\nc\n'],
    ['a\nb\n', ['@@ -1,2 +1,2 @@', '-a', '+A'], 'A\nb\n'],
    ['a\nb\nc\nd\n', ['-a', '+A', '@@', '-c', '+C'], 'A\nb\nC\nd\n'],
  ])('of %j: %j', (text, lines, result) => {
    expect(patched(text, lines)).toBe(result)
  })
})

describe('changes of several files', () => {
  test('are undone if one of them fails in the end', async () => {
    const files = { a: 'a', b: 'b', 'folder/c': 'c' }
    const { cwd, workspace } = await projectWith(files)
    const wanted = [
      { path: 'a', content: 'A' },
      { path: 'b', content: null },
      { path: 'new/x', content: 'x' },
      // Twice: the second finds that there is nothing left to delete.
      { path: 'folder/c', content: null },
      { path: 'folder/c', content: null },
    ]
    const changed = await workspace.replaceAll(wanted)
    expect(changed._unsafeUnwrapErr()).toMatchObject({ problem: { type: 'not_found' } })
    expect(await allFilesOf(cwd)).toEqual(files)
    expect((await readdir(cwd)).sort()).toEqual(['a', 'b', 'folder'])
  })

  test('are not made if a file has changed since it was read, or is there now', async () => {
    const files = { a: 'a', b: 'b', c: 'c' }
    const { cwd, workspace } = await projectWith(files)
    const change = { path: 'a', content: 'A', expected: sha256('a') }
    const meanwhile = async (path: string, content: string | null, expected: string | null) => {
      const changed = await workspace.replaceAll([change, { path, content, expected }])
      expect(changed._unsafeUnwrapErr().problem).toEqual({ type: 'changed_meanwhile' })
    }
    await meanwhile('c', 'C', null)
    await writeFile(join(cwd, 'b'), 'B2')
    await meanwhile('b', 'B', sha256('b'))
    await meanwhile('b', null, sha256('b'))
    expect(await allFilesOf(cwd)).toEqual({ ...files, b: 'B2' })
    const last = { path: 'b', content: null, expected: sha256('B2') }
    const again = (await workspace.replaceAll([change, last]))._unsafeUnwrap()
    expect(again.map(({ change }) => change)).toEqual(['replaced', 'deleted'])
  })

  test('count as made if they are there already, as after a program that died in between', async () => {
    const { workspace } = await projectWith({ a: 'a' })
    const change = { path: 'a', content: 'A', expected: sha256('a') }
    for (const _ of [1, 2]) {
      const changed = (await workspace.replaceAll([change]))._unsafeUnwrap()
      expect(changed).toEqual([{ change: 'replaced', shown: 'a' }])
    }
  })
})
