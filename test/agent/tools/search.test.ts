import { readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { projectWith } from './support.ts'

const FILES = {
  'src/cart.py': 'def total():\n    return 1 + 2\n',
  'src/deep/er/cart_test.py': 'def test_total():\n    assert total() == 3\n',
  'readme.md': 'The total of a cart\n',
  'node_modules/dep/index.py': 'total\n',
  '.git/objects/total.py': 'total\n',
  'options.txt': 'x --include=*.py\n',
  'image.bin': Buffer.from('total\0total\n'),
}

/** What a search in a folder adds if it finds nothing. */
const LEFT_OUT = expect.stringMatching(/^(?:Nothing|No file) matches\. \[Leaves out .*`ignored`/)

describe('grep_search', () => {
  test('finds lines by an extended regular expression, with path and line', async () => {
    const { run } = await projectWith(FILES)
    const result = await run('grep_search', { pattern: 'def (test_)?total|cart$' })
    expect(result).toMatchObject({ outcome: 'ok', exit_code: 0 })
    expect(result.output.trim().split('\n').sort()).toEqual([
      './readme.md:1:The total of a cart',
      './src/cart.py:1:def total():',
      './src/deep/er/cart_test.py:1:def test_total():',
    ])
  })

  const PRINTED = [
    [{ pattern: 'TOTAL', ignore_case: true, name: '*.md' }, './readme.md:1:The total of a cart\n'],
    [
      { pattern: 'return', context: 1 },
      './src/cart.py-1-def total():\n./src/cart.py:2:    return 1 + 2\n',
    ],
    [{ pattern: 'def', path: 'src/deep' }, 'src/deep/er/cart_test.py:1:def test_total():\n'],
    [{ pattern: 'def', path: 'src/cart.py' }, 'src/cart.py:1:def total():\n'],
    [{ pattern: 'return', output: 'files' }, './src/cart.py\n'],
    [{ pattern: 'total', output: 'counts', path: 'src/deep' }, 'src/deep/er/cart_test.py:2\n'],
    [{ pattern: 'assert', output: 'counts' }, './src/deep/er/cart_test.py:1\n'],
    [{ pattern: '--include' }, './options.txt:1:x --include=*.py\n'],
    [{ pattern: 'none of it', output: 'counts', path: 'src' }, LEFT_OUT],
    [{ pattern: 'TOTAL', name: '*.md', path: 'src' }, LEFT_OUT],
    [{ pattern: 'TOTAL', name: '*.md' }, LEFT_OUT],
    [{ pattern: 'total', path: 'node_modules/dep' }, 'node_modules/dep/index.py:1:total\n'],
    [{ pattern: 'total', name: 'index.*', ignored: true }, './node_modules/dep/index.py:1:total\n'],
  ] as const

  test('prints what is asked for', async () => {
    const { run } = await projectWith(FILES)
    for (const [args, output] of PRINTED) {
      expect(await run('grep_search', args)).toMatchObject({ outcome: 'ok', output })
    }
  })

  test('does not follow links out of the project', async () => {
    const { cwd, outside, run } = await projectWith()
    await writeFile(join(outside, 'secret'), 'secret\n')
    await symlink(outside, join(cwd, 'link'))
    const result = await run('grep_search', { pattern: 'secret' })
    expect(result).toMatchObject({ outcome: 'ok', output: LEFT_OUT })
  })

  test.runIf(process.platform === 'linux').each([['a{1,30000}'], ['((a{1,100}){1,100}){1,100}']])(
    'gives up a pattern that needs too much memory: %s',
    async (pattern) => {
      const { run, cwd } = await projectWith({ a: 'aaa\n' })
      const result = await run('grep_search', { pattern })
      expect(result).toMatchObject({ outcome: 'error', exit_code: 1 })
      expect(result.output).toMatch(/needs more memory than it may have\. Write a simpler pattern/)
      expect(await readdir(cwd)).toEqual(['a'])
    },
  )

  test('shortens the lines of minified files, so that they do not hide other results', async () => {
    const minified = `total${'€'.repeat(100_000)}\n`.repeat(50)
    const { artifacts, run } = await projectWith({
      'a.js': minified,
      'b.js': 'total\n',
      'c.js': minified,
    })
    const result = await run('grep_search', { pattern: 'total' })
    expect(result).toMatchObject({ outcome: 'ok', truncated: true })
    const artifact = await artifacts.read(result.sha256 ?? '')
    const lines = artifact === null ? [] : (await text(artifact.stream)).trim().split('\n')
    expect(lines).toHaveLength(101)
    expect(lines).toContain('./b.js:1:total')
    for (const line of lines)
      expect(line).toMatch(
        /^\.\/[abc]\.js:\d+:total(€{480,500} \[… 99\d{3} more characters of this line are left out\])?$/,
      )
  })

  test('reports what is wrong with a pattern', async () => {
    const { run } = await projectWith(FILES)
    const result = await run('grep_search', { pattern: '(unclosed' })
    expect(result).toMatchObject({ outcome: 'error', exit_code: 2 })
    expect(result.output).toMatch(/grep: .*\(/)
  })
})

describe('find_files', () => {
  const FOUND = [
    ['src/**/*.py', 'src/cart.py\nsrc/deep/er/cart_test.py'],
    ['*cart*', 'src/cart.py\nsrc/deep/er/cart_test.py'],
    ['./*.md', 'readme.md'],
    ['{readme,none}.{md,txt}', 'readme.md'],
    ['**/total.py', LEFT_OUT],
    ['**/index.py', LEFT_OUT],
    ['src', LEFT_OUT],
  ] as const

  test('finds by a glob, also with the full path of the project', async () => {
    const { cwd, run } = await projectWith(FILES)
    for (const [pattern, output] of [...FOUND, [`${cwd}/src/*.py`, 'src/cart.py']] as const) {
      const found = await run('find_files', { pattern })
      expect(found, pattern).toMatchObject({ outcome: 'ok', output })
    }
  })

  test.each([
    ['app/(group)/*.tsx', 'app/(group)/page.tsx'],
    ['app/[id]/*.tsx', 'app/[id]/page.tsx'],
    ['**/[!p]*.@(ts|js)', 'app/main.js'],
    // A name with a line break does not look like two names.
    ['*.py', '"a\\nb.py"'],
  ])('finds files whose names have special characters by %s', async (pattern, found) => {
    const names = ['app/(group)/page.tsx', 'app/[id]/page.tsx', 'app/main.js', 'a\nb.py']
    const { run } = await projectWith(Object.fromEntries(names.map((name) => [name, ''])))
    expect((await run('find_files', { pattern })).output).toBe(found)
  })

  test('does not leave the project, by a link or by what a glob expands to', async () => {
    const { cwd, outside, run } = await projectWith(FILES)
    await writeFile(join(outside, 'secret'), '')
    const outward = ['../outside/*', '/etc/host*', 'src/../../outside/*', '{..,src}/outside/*']
    for (const pattern of outward) {
      const result = await run('find_files', { pattern })
      expect(result, pattern).toMatchObject({ outcome: 'error' })
      expect(result.output).toContain('outside the project')
    }
    await symlink(outside, join(cwd, 'link'))
    const hidden = ['link/*', 'l*/*', '**/secret', '{/,src}/../*/secret', '{/etc/,x}hosts']
    for (const pattern of hidden) {
      const { output } = await run('find_files', { pattern })
      expect(output, pattern).not.toMatch(/secret\b(?!")|etc\/hosts$/)
    }
  })

  test('reports that there are more files than it shows', async () => {
    const files = Object.fromEntries(Array.from({ length: 1002 }, (_, n) => [`f${n}.txt`, '']))
    const { run } = await projectWith(files)
    const lines = (await run('find_files', { pattern: '*.txt' })).output.split('\n')
    expect(lines).toHaveLength(1001)
    expect(lines.at(-1)).toBe('[there are more than 1000 files]')
  })

  test('ends when its run is aborted, even if its pattern is slow', async () => {
    const { run } = await projectWith({ [`${'a'.repeat(200)}.txt`]: '' })
    const pattern = `${'*a'.repeat(40)}b`
    const result = await run('find_files', { pattern }, AbortSignal.timeout(500))
    expect(result).toMatchObject({ outcome: 'aborted', exit_code: null })
  })
})
