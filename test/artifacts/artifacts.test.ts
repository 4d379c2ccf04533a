import { createHash } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { temporaryFolder } from '../runner/support.ts'

const sha256Of = (content: string | Buffer): string =>
  createHash('sha256').update(content).digest('hex')

describe('artifacts', () => {
  it('keeps content under its SHA-256 and gives it back', async () => {
    const artifacts = createArtifacts(join(await temporaryFolder(), 'made', 'when', 'needed'))
    const sha256 = await artifacts.put('grün 😀\0')
    expect(sha256).toBe(sha256Of('grün 😀\0'))
    const artifact = await artifacts.read(sha256)
    expect(artifact?.bytes).toBe(11)
    expect(artifact && String(await buffer(artifact.stream))).toBe('grün 😀\0')
  })

  it('is a file at the path of its hash, for its owner alone, with nothing beside it', async () => {
    const dir = await temporaryFolder()
    const bytes = Buffer.from([0, 255, 254, 13, 10])
    const sha256 = await createArtifacts(dir).put(bytes)
    const folder = join(dir, sha256.slice(0, 2))
    expect(await readdir(folder)).toEqual([sha256])
    expect(await readFile(join(folder, sha256))).toEqual(bytes)
    expect((await stat(join(folder, sha256))).mode & 0o777).toBe(0o600)
  })

  it('is written once, even if it is put often and at the same time', async () => {
    const dir = await temporaryFolder()
    const artifacts = createArtifacts(dir)
    const names = await Promise.all(Array.from({ length: 8 }, () => artifacts.put('the same')))
    const [sha256 = ''] = names
    expect(new Set(names).size).toBe(1)
    const before = await stat(join(dir, sha256.slice(0, 2), sha256))
    await artifacts.put('the same')
    const after = await stat(join(dir, sha256.slice(0, 2), sha256))
    expect(after.ino).toBe(before.ino)
    expect(await readdir(join(dir, sha256.slice(0, 2)))).toEqual([sha256])
  })

  it.each([
    'f'.repeat(64),
    '',
    '../../etc/passwd',
    'F'.repeat(64),
    `${'a'.repeat(63)}/`,
    `${'a'.repeat(64)}\n`,
  ])('is null for %j, which is not a hash', async (name) => {
    const artifacts = createArtifacts(await temporaryFolder())
    expect(await artifacts.read(name)).toBeNull()
  })

  it('rejects if the content cannot be stored', async () => {
    const file = join(await temporaryFolder(), 'file')
    await writeFile(file, '')
    await expect(createArtifacts(file).put('x')).rejects.toThrow('ENOTDIR')
  })
})
