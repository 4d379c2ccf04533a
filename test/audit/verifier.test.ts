import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..')
const ENTRY = 'src/audit/verify/verify-bundle.ts'
const MAX_FILES = 31
const MAX_LINES = 4_000

/** The files of ours that a file imports in any way, also only their types. */
async function importsOf(file: string): Promise<string[]> {
  const { importedFiles } = ts.preProcessFile(await readFile(join(ROOT, file), 'utf8'))
  const own = importedFiles.map(({ fileName }) => fileName).filter((name) => name.startsWith('.'))
  return own.map((name) => relative(ROOT, join(ROOT, dirname(file), name)))
}

async function closureOf(entry: string): Promise<string[]> {
  const found = new Set([entry])
  for (const file of found) for (const name of await importsOf(file)) found.add(name)
  return [...found].sort()
}

test('the verifier of exports is as small as the document says, and consists of the files that it lists', async () => {
  const closure = await closureOf(ENTRY)
  const page = await readFile(join(ROOT, 'docs', 'verification.md'), 'utf8')
  const [section = ''] = /## The verifier itself\n.*?(?=\n## )/s.exec(page) ?? []
  const listed = [...section.matchAll(/^ {4}(src\/\S+)/gm)].map(([, file]) => file)
  expect(listed).toEqual(closure)
  const texts = await Promise.all(closure.map((file) => readFile(join(ROOT, file), 'utf8')))
  const lines = texts.reduce((sum, text) => sum + text.split('\n').length - 1, 0)
  expect(closure.length).toBeLessThanOrEqual(MAX_FILES)
  expect(lines).toBeLessThanOrEqual(MAX_LINES)
  expect(Number(/(\d),(\d{3}) lines/.exec(section)?.slice(1).join(''))).toBeGreaterThanOrEqual(
    lines,
  )
})
