import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ensurePool } from '../../src/server/data-folder.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-data-folder-'))
  file = join(folder, 'pool')
})
afterEach(() => rm(folder, { recursive: true }))

const poolOn = async (host: string) => (await ensurePool(file, host))._unsafeUnwrap()

test('a server keeps its pool when the name of its machine changes', async () => {
  expect(await poolOn('build-1')).toBe('build-1')
  expect(await poolOn('f3a9c0de11aa')).toBe('build-1')
})

test('a pool is made of what names of machines have, and has a name in any case', async () => {
  expect(await poolOn('Adas Rechner/süd')).toBe('Adas-Rechner-s-d')
  await rm(file)
  expect(await poolOn('')).toBe('localhost')
  await rm(file)
  expect(await poolOn('a'.repeat(300))).toHaveLength(100)
})

test('a crash may have left the file empty, but another text in it is refused', async () => {
  await writeFile(file, '')
  expect(await poolOn('build-1')).toBe('build-1')
  await writeFile(file, 'two words\n')
  const refused = (await ensurePool(file, 'build-1'))._unsafeUnwrapErr()
  expect(refused).toContain(`${file} cannot be used`)
  expect(refused).toContain('letters, digits')
  expect(await readFile(file, 'utf8')).toBe('two words\n')
})
