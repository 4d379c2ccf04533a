import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { projectWith } from './support.ts'

describe('file_patch', () => {
  test('replaces exactly the one place', async () => {
    const { cwd, run } = await projectWith({ 'a.py': '\ufeffone\r\ntwo\r\nthree\r\n' })
    const args = { path: 'a.py', old: 'two\r\n', new: "$& $1 $' \\n\r\n" }
    const result = await run('file_patch', args)
    expect(result.outcome).toBe('ok')
    expect(result.output).toBe('Replaced the text in a.py.')
    const patched = await readFile(join(cwd, 'a.py'), 'utf8')
    expect(patched).toBe("\ufeffone\r\n$& $1 $' \\n\r\nthree\r\n")
  })

  test('makes several edits, each in the text that the previous edit left', async () => {
    const { cwd, run } = await projectWith({ a: 'one two one' })
    const edits = [
      { old: 'one', new: '1', replace_all: true },
      { old: '1 two', new: '1 2' },
    ]
    const result = await run('file_patch', { path: 'a', edits })
    expect(result).toMatchObject({ outcome: 'ok' })
    expect(result.output).toContain('Replaced the text 2 times in a.')
    expect(await readFile(join(cwd, 'a'), 'utf8')).toBe('1 2 1')
  })

  test('makes all edits or none', async () => {
    const part = fc.constantFrom('a', 'b', 'c', 'd')
    const edits = fc.array(fc.record({ old: part, new: part }), { minLength: 1, maxLength: 4 })
    const { cwd, run } = await projectWith()
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(['a', 'b', 'c']), edits, async (letters, edits) => {
        const text = letters.join('\n')
        await writeFile(join(cwd, 'x.txt'), text)
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

  test.each([
    ['x\ny\nx\n', 'x', 'occurs 2 times in a (lines 1, 3), but must occur exactly once'],
    [Buffer.from([0x61, 0x62, 0x63, 0xff]), 'abc', 'not a text file in UTF-8'],
  ])('changes nothing in %j if %j is to be replaced', async (content, old, words) => {
    const { cwd, run } = await projectWith({ a: content })
    const result = await run('file_patch', { path: 'a', old, new: 'abc' })
    expect(result).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(result.output).toContain(words)
    expect(await readFile(join(cwd, 'a'))).toEqual(Buffer.from(content))
  })

  test('refuses a file that is too large, or does not exist', async () => {
    const { cwd, run } = await projectWith()
    const file = await open(join(cwd, 'huge'), 'w')
    await file.truncate(20 * 1024 ** 3)
    await file.close()
    const large = await run('file_patch', { path: 'huge', old: 'a', new: 'b' })
    expect(large).toMatchObject({ outcome: 'error', output: expect.stringMatching('too large') })
    const none = await run('file_patch', { path: 'none', old: 'a', new: 'b' })
    expect(none.output).toContain('does not exist')
  })
})
