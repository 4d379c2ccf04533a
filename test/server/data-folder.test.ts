import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeEach, expect, test } from 'vitest'
import { ensurePool, openCleanStops } from '../../src/server/data-folder.ts'
import { temporaryFolder } from '../runner/support.ts'

let file: string
beforeEach(async () => {
  file = join(await temporaryFolder(), 'pool')
})

const poolOn = async (host: string) => (await ensurePool(file, host))._unsafeUnwrap()

test('a server keeps its pool when the name of its machine changes', async () => {
  expect(await poolOn('build-1')).toBe('build-1')
  expect(await poolOn('f3a9c0de11aa')).toBe('build-1')
})

test("a pool name is made of the characters of a machine's name, and is never empty", async () => {
  expect(await poolOn('Adas Rechner/süd')).toBe('Adas-Rechner-s-d')
  await rm(file)
  expect(await poolOn('')).toBe('localhost')
  await rm(file)
  expect(await poolOn('a'.repeat(300))).toHaveLength(100)
})

test('an empty file, as a crash may leave it, is accepted, and any other wrong text is refused', async () => {
  await writeFile(file, '')
  expect(await poolOn('build-1')).toBe('build-1')
  await writeFile(file, 'two words\n')
  const refused = (await ensurePool(file, 'build-1'))._unsafeUnwrapErr()
  expect(refused).toContain(`${file} cannot be used`)
  expect(refused).toContain('letters, digits')
  expect(await readFile(file, 'utf8')).toBe('two words\n')
})

test('a stop is noted even if the process has no file descriptor left', async () => {
  const script = `
    import { openSync } from 'node:fs'
    import { openCleanStops } from ${JSON.stringify(new URL('../../src/server/data-folder.ts', import.meta.url).href)}
    const stops = openCleanStops(process.argv[1])
    const isFull = () => { try { openSync(process.execPath); return false } catch { return true } }
    while (!isFull());
    process.exitCode = stops.note('second').isOk() ? 0 : 1`
  const stops = openCleanStops(file)
  expect([...stops.stopped]).toEqual([])
  stops.note('first')._unsafeUnwrap()
  const limited = `ulimit -n 60; exec "$0" --input-type=module -e "$1" "$2"`
  await promisify(execFile)('bash', ['-c', limited, process.execPath, script, file])
  expect([...openCleanStops(file).stopped]).toEqual(['first', 'second'])
})
