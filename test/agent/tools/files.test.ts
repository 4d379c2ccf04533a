import { chmod, open, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { projectWith } from './support.ts'

const numbered = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}\n`).join('')

/** What file_read shows of lines. */
const shown = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\tline ${from + index}`).join(
    '\n',
  )

describe('file_read', () => {
  test('returns a file with the numbers of its lines, and how its lines end', async () => {
    const { run } = await projectWith({
      'a.txt': '\ufeffone\r\ntwo\n\n  grün 😀\nno end',
      'b.txt': 'one\n\n',
      'c.txt': 'one\r\ntwo\r\nend',
      empty: '',
    })
    expect((await run('file_read', { path: 'empty' })).output).toBe('[The file is empty.]')
    expect((await run('file_read', { path: 'a.txt' })).output).toBe(
      '1\tone\n2\ttwo\n3\t\n4\t  grün 😀\n5\tno end\n' +
        '[Some lines end with \\r\\n, others with \\n: change them with apply_patch. The file begins with a byte order mark.]',
    )
    expect((await run('file_read', { path: 'b.txt' })).output).toBe('1\tone\n2\t')
    expect((await run('file_read', { path: 'c.txt' })).output).toBe(
      '1\tone\n2\ttwo\n3\tend\n[Lines end with \\r\\n.]',
    )
  })

  test('returns the lines that are asked for', async () => {
    const { run } = await projectWith({ 'a.txt': numbered(1, 5) })
    for (const [range, output] of [
      [{ offset: 3 }, shown(3, 5)],
      [{ limit: 2 }, `${shown(1, 2)}\n[Lines 1 to 2 of 5. Continue with offset 3.]`],
      [{ offset: 2, limit: 3 }, `${shown(2, 4)}\n[Lines 2 to 4 of 5. Continue with offset 5.]`],
      [{ offset: 4, limit: 2 }, shown(4, 5)],
      [{ offset: 5, limit: 100 }, shown(5, 5)],
    ] as const) {
      const result = await run('file_read', { path: 'a.txt', ...range })
      expect(result).toMatchObject({ outcome: 'ok', output })
    }
  })

  test.each([
    [numbered(1, 5), 6, 'has only 5 lines.'],
    ['one\ntwo', 3, 'has only 2 lines.'],
    ['one', 100, 'has only 1 line.'],
  ])('reports the number of lines if %j has no line %i', async (content, offset, words) => {
    const { run } = await projectWith({ 'a.txt': content })
    const result = await run('file_read', { path: 'a.txt', offset })
    expect(result).toMatchObject({ outcome: 'error' })
    expect(result.output).toContain(words)
  })

  test('shows any file completely, in calls that each continue at the returned offset', async () => {
    const content = fc
      .array(fc.string({ unit: fc.constantFrom('a', 'é', '😀', ' '), maxLength: 300 }), {
        maxLength: 600,
      })
      .map((lines) => lines.join('\n'))
      .filter((text) => text !== '')
    const { cwd, run } = await projectWith()
    await fc.assert(
      fc.asyncProperty(content, async (text) => {
        await writeFile(join(cwd, 'a.txt'), text)
        const read: string[] = []
        let offset: number | null = 1
        while (offset !== null) {
          const result = await run('file_read', { path: 'a.txt', offset })
          expect(result).toMatchObject({ outcome: 'ok', truncated: false })
          const [, body = result.output, next] =
            /^(.*)\n\[Lines \d+ to \d+ of \d+\. Continue with offset (\d+)\.\]$/s.exec(
              result.output,
            ) ?? []
          for (const line of body.split('\n')) {
            read.push(line.replace(`${read.length + 1}\t`, ''))
          }
          offset = next === undefined ? null : Number(next)
        }
        expect(read.join('\n')).toBe(text.replace(/\n$/, ''))
      }),
      { numRuns: 25 },
    )
  })

  test('reads the beginning of a huge file without reading it all', async () => {
    const { cwd, run } = await projectWith()
    const file = await open(join(cwd, 'huge.log'), 'w')
    await file.write(numbered(1, 20_000))
    await file.truncate(20 * 1024 ** 3)
    await file.close()
    const result = await run('file_read', { path: 'huge.log' })
    expect(result).toMatchObject({ outcome: 'ok' })
    expect(result.output.startsWith('1\tline 1\n')).toBe(true)
    expect(result.output).toContain(`of a file of ${20 * 1024 ** 3} bytes`)
  })

  test('does no harm if its run is aborted while the file is opened', async () => {
    const { run } = await projectWith({ 'a.txt': 'text' })
    const aborted = new AbortController()
    const result = run('file_read', { path: 'a.txt' }, aborted.signal)
    aborted.abort()
    expect(await result).toMatchObject({ outcome: 'aborted', exit_code: null })
  })
})

describe('file_list', () => {
  test('lists folders, files with their sizes, and links', async () => {
    const { cwd, run } = await projectWith({ 'b.txt': 'four', 'src/a.ts': '' })
    await symlink('b.txt', join(cwd, 'link'))
    expect((await run('file_list')).output).toBe('b.txt (4 bytes)\nlink -> b.txt\nsrc/')
    expect((await run('file_list', { path: 'src' })).output).toBe('a.ts (0 bytes)')
  })

  test('reports that there are more entries than it shows', async () => {
    const files = Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`f${n}`, '']))
    const { run } = await projectWith(files)
    const { output } = await run('file_list')
    expect(output.split('\n').at(-1)).toContain('only 1000 entries')
  })
})

describe('file_write', () => {
  test('makes a file and its folders, and leaves no other files', async () => {
    const { cwd, run } = await projectWith()
    const result = await run('file_write', { path: 'a/b/c.txt', content: 'grün\n' })
    expect(result).toMatchObject({ outcome: 'ok', output: 'Created a/b/c.txt (6 bytes).' })
    const short = await run('file_write', { path: 'short', content: '1' })
    expect(short.output).toBe('Created short (1 byte).')
    expect(await readFile(join(cwd, 'a/b/c.txt'), 'utf8')).toBe('grün\n')
    expect(await readdir(join(cwd, 'a/b'))).toEqual(['c.txt'])
  })

  test('replaces a file, keeps its mode, and does not disturb readers of the old one', async () => {
    const { cwd, run } = await projectWith({ 'run.sh': 'old' })
    await chmod(join(cwd, 'run.sh'), 0o751)
    const reader = await open(join(cwd, 'run.sh'))
    const result = await run('file_write', { path: 'run.sh', content: 'new and longer' })
    expect(result.output).toContain('Replaced run.sh')
    expect(await readFile(join(cwd, 'run.sh'), 'utf8')).toBe('new and longer')
    expect((await stat(join(cwd, 'run.sh'))).mode & 0o7777).toBe(0o751)
    expect(await reader.readFile('utf8')).toBe('old')
    await reader.close()
  })

  test('does not keep the right to run as the owner', async () => {
    const { cwd, run } = await projectWith({ 'run.sh': 'old' })
    await chmod(join(cwd, 'run.sh'), 0o6755)
    await run('file_write', { path: 'run.sh', content: 'new' })
    expect((await stat(join(cwd, 'run.sh'))).mode & 0o7777).toBe(0o755)
  })

  test('writes through a link that stays inside, and keeps the link', async () => {
    const { cwd, run } = await projectWith({ 'real.txt': 'old' })
    await symlink('real.txt', join(cwd, 'link.txt'))
    expect(await run('file_write', { path: 'link.txt', content: 'new' })).toMatchObject({
      outcome: 'ok',
    })
    expect(await readFile(join(cwd, 'real.txt'), 'utf8')).toBe('new')
    expect((await readdir(cwd)).sort()).toEqual(['link.txt', 'real.txt'])
  })
})

const LONG = 'x'.repeat(300)
const IMPOSSIBLE: Readonly<Record<string, readonly (readonly [path: string, words: string])[]>> = {
  file_read: [
    ['none', 'does not exist'],
    ['none/none', 'does not exist'],
    ['folder', 'is a folder'],
    ['text/below', 'is not a folder'],
    ['binary', 'is a binary file'],
    ['pipe', 'is not a regular file'],
    [LONG, 'cannot be used'],
  ],
  file_list: [
    ['none', 'does not exist'],
    ['text', 'is not a folder'],
  ],
  file_write: [
    ['folder', 'is a folder'],
    ['.', 'is a folder'],
    ['text/below', 'is not a folder'],
    ['pipe', 'is not a regular file'],
    [LONG, 'cannot be used'],
  ],
  file_delete: [
    ['none', 'does not exist'],
    ['.', 'is a folder'],
    ['folder', '"folder" is a folder that is not empty.'],
    ['text/below', 'is not a folder'],
  ],
  file_rename: [
    ['none > x', 'does not exist'],
    ['none > new/deep/x', 'does not exist'],
    ['text > text', 'is both paths. Nothing was changed'],
    ['text > text/b', 'cannot be moved into itself'],
    ['folder > folder/sub', 'cannot be moved into itself'],
    ['text > folder', 'exists already'],
    ['. > x', 'is a folder'],
  ],
}

test.each(Object.entries(IMPOSSIBLE))('%s says why it is not possible', async (tool, cases) => {
  const files = { text: 'a', binary: Buffer.from([1, 2, 0, 3]), 'folder/b': 'b' }
  const { cwd, run } = await projectWith(files)
  await run('bash_exec', { command: 'mkfifo pipe' })
  for (const [paths, words] of cases) {
    const [path = '', to] = paths.split(' > ')
    const more = tool === 'file_write' ? { content: 'x' } : to ? { to, overwrite: true } : {}
    const result = await run(tool, { path, ...more })
    expect(result, paths).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(result.output).toContain(words)
    const there = (await readdir(cwd, { recursive: true })).sort()
    expect(there).toEqual(['binary', 'folder', 'folder/b', 'pipe', 'text'])
  }
})
