import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { projectWith } from './support.ts'

describe('file_patch', () => {
  test('replaces exactly the one place, and shows it with the lines around it', async () => {
    const { cwd, run } = await projectWith({ 'a.py': '\ufeffone\r\ntwo\r\nthree\r\n' })
    const args = { path: 'a.py', old: 'two\r\n', new: "$& $1 $' \\n\r\n" }
    const result = await run('file_patch', args)
    expect(result.outcome).toBe('ok')
    expect(result.output).toBe(
      "Replaced the text at line 2 of a.py.\n1\t\ufeffone\n2\t$& $1 $' \\n\n3\tthree",
    )
    const patched = await readFile(join(cwd, 'a.py'), 'utf8')
    expect(patched).toBe("\ufeffone\r\n$& $1 $' \\n\r\nthree\r\n")
  })

  test('says that the line numbers of file_read are not in the file', async () => {
    const { run } = await projectWith({ 'a.py': 'one\ntwo\n' })
    const { output } = await run('file_patch', { path: 'a.py', old: '1\tone\n2\ttwo\n', new: 'x' })
    expect(output).toContain('"old" has the line numbers that file_read shows')
  })

  test('makes several edits, each in the text that the previous edit left', async () => {
    const { cwd, run } = await projectWith({ a: 'one two one' })
    const edits = [
      { old: 'one', new: '1', replace_all: true },
      { old: '1 two', new: '1 2' },
    ]
    const result = await run('file_patch', { path: 'a', edits })
    expect(result).toMatchObject({ outcome: 'ok' })
    expect(result.output).toContain('Replaced the text 2 times, at lines 1, 1 of a.')
    expect(await readFile(join(cwd, 'a'), 'utf8')).toBe('1 2 1')
  })

  test('makes all edits or none', async () => {
    const part = fc.constantFrom('a', 'b', 'c', 'd')
    const edits = fc.array(fc.record({ old: part, new: part }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(['a', 'b', 'c']), edits, async (letters, edits) => {
        const text = letters.join('\n')
        const { cwd, run } = await projectWith({ 'x.txt': text })
        const { outcome } = await run('file_patch', { path: 'x.txt', edits })
        let expected: string | null = text
        for (const { old, new: fresh } of edits) {
          const isOnce: boolean = old !== fresh && expected?.split(old).length === 2
          expected = isOnce ? (expected?.replace(old, fresh) ?? null) : null
        }
        expect(outcome).toBe(expected === null ? 'error' : 'ok')
        expect(await readFile(join(cwd, 'x.txt'), 'utf8')).toBe(expected ?? text)
      }),
      { numRuns: 60 },
    )
  })

  test('accepts lines that differ in spaces, and reports that', async () => {
    const { cwd, run } = await projectWith({ 'a.py': 'def f():\n    a = 1\n    return a\n' })
    const args = { path: 'a.py', old: 'a = 1\nreturn a', new: 'a = 2\nreturn a' }
    const result = await run('file_patch', args)
    expect(result.output).toMatch(
      /^Replaced the text at line 2 of a\.py; it differed from "old" in spaces/,
    )
    expect(await readFile(join(cwd, 'a.py'), 'utf8')).toBe('def f():\n    a = 2\n    return a\n')
  })

  test('shows the most similar place if the text is not found, with its line numbers', async () => {
    const text = `${'x\n'.repeat(9)}def total(a, b):\n    return a + b\n\n`
    const { run } = await projectWith({ 'a.py': text })
    const old = 'def total(a, b):\n    return a - b\n'
    const { output } = await run('file_patch', { path: 'a.py', old, new: 'y' })
    expect(output).toContain('"old" occurs 0 times in a.py. Nothing was changed.')
    expect(output).toContain(
      '\n  10\tdef total(a, b):\n- \t    return a - b\n+ 11\t    return a + b',
    )
    const other = await run('file_patch', { path: 'a.py', old: 'return b + a', new: 'y' })
    expect(other.output).toContain('- \treturn b + a\n+ 11\t    return a + b')
    const nowhere = await run('file_patch', { path: 'a.py', old: 'zzzzzz', new: 'y' })
    expect(nowhere.output).toContain('Nothing in the file is like it.')
  })

  test.each([
    ['x\ny\nx\n', 'x', 'occurs 2 times in a (lines 1, 3), but must occur exactly once'],
    ['abc', 'abc', 'are the same'],
    ['  a\n a\n', 'a \n', 'without regard to spaces'],
    ['a\nb', 'a\n  b', 'other levels of indentation'],
    [Buffer.from([0x61, 0x62, 0x63, 0xff]), 'abc', 'not a text file in UTF-8'],
  ])('changes nothing in %j if %j is to be replaced', async (content, old, words) => {
    const { cwd, run } = await projectWith({ a: content })
    const result = await run('file_patch', { path: 'a', old, new: 'abc' })
    expect(result).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(result.output).toContain(words)
    expect(await readFile(join(cwd, 'a'))).toEqual(Buffer.from(content))
  })

  test.each([
    {},
    { old: 'a' },
    { new: 'b' },
    { edits: [] },
    { old: 'a', new: 'b', edits: [{ old: 'a', new: 'b' }] },
  ])('rejects %j', async (args) => {
    const { run } = await projectWith({ a: 'a' })
    expect(await run('file_patch', { path: 'a', ...args })).toMatchObject({ outcome: 'rejected' })
  })

  test('refuses a file that is too large', async () => {
    const { cwd, run } = await projectWith()
    const file = await open(join(cwd, 'huge'), 'w')
    await file.truncate(20 * 1024 ** 3)
    await file.close()
    const result = await run('file_patch', { path: 'huge', old: 'a', new: 'b' })
    expect(result).toMatchObject({ outcome: 'error' })
    expect(result.output).toContain('too large')
  })

  test('reports that a file does not exist', async () => {
    const { run } = await projectWith()
    const result = await run('file_patch', { path: 'none', old: 'a', new: 'b' })
    expect(result.output).toContain('does not exist')
  })
})
