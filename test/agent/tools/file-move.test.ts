import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { projectWith } from './support.ts'

const allOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true })).sort()

describe('file_delete', () => {
  test('deletes a file, an empty folder, and a link without its target', async () => {
    const { cwd, outside, run } = await projectWith({ 'a.txt': 'a', 'b.txt': 'b' })
    await writeFile(join(outside, 'kept'), 'kept')
    await mkdir(join(cwd, 'empty'))
    await symlink(outside, join(cwd, 'link'))
    expect((await run('file_delete', { path: 'a.txt' })).output).toBe('Deleted a.txt.')
    expect((await run('file_delete', { path: 'link' })).output).toBe('Deleted link.')
    expect((await run('file_delete', { path: 'empty/' })).output).toBe(
      'Deleted the empty folder empty.',
    )
    expect(await allOf(cwd)).toEqual(['b.txt'])
    expect(await allOf(outside)).toEqual(['kept'])
  })
})

describe('file_rename', () => {
  test('moves a file with its mode, and makes the missing folders', async () => {
    const { cwd, run } = await projectWith({ 'run.sh': 'x' })
    await chmod(join(cwd, 'run.sh'), 0o751)
    const result = await run('file_rename', { path: 'run.sh', to: 'bin/deep/go.sh' })
    expect(result.output).toBe('Renamed run.sh to bin/deep/go.sh.')
    expect(await allOf(cwd)).toEqual(['bin', 'bin/deep', 'bin/deep/go.sh'])
    expect((await stat(join(cwd, 'bin/deep/go.sh'))).mode & 0o7777).toBe(0o751)
  })

  test('moves a folder', async () => {
    const { cwd, run } = await projectWith({ 'a/b/c': 'c' })
    expect(await run('file_rename', { path: 'a/b', to: 'd' })).toMatchObject({ outcome: 'ok' })
    expect(await allOf(cwd)).toEqual(['a', 'd', 'd/c'])
  })

  test('replaces a file only if that is asked for', async () => {
    const { cwd, run } = await projectWith({ a: 'new', b: 'old' })
    const refused = await run('file_rename', { path: 'a', to: 'b' })
    expect(refused.output).toContain('"b" exists already. Nothing was changed.')
    expect(await readFile(join(cwd, 'b'), 'utf8')).toBe('old')
    const done = await run('file_rename', { path: 'a', to: 'b', overwrite: true })
    expect(done).toMatchObject({ outcome: 'ok' })
    expect(await readFile(join(cwd, 'b'), 'utf8')).toBe('new')
    expect(await allOf(cwd)).toEqual(['b'])
  })
})

describe('a file that git or the server obeys', () => {
  test('is not written, deleted or moved', async () => {
    const { cwd, run } = await projectWith({ '.git/config': 'c', 'sub/.git/config': 'c', a: 'a' })
    const before = await allOf(cwd)
    const inGit = ['.git/hooks/pre-commit', '.git/config', '.git', '.GIT/hooks/x']
    for (const path of [...inGit, 'sub/.git/config', '.retrai.yml']) {
      for (const [tool, args] of [
        ['file_write', { path, content: 'x' }],
        ['file_patch', { path, old: 'c', new: 'x' }],
        ['file_delete', { path }],
        ['file_rename', { path, to: 'b' }],
        ['file_rename', { path: 'a', to: path, overwrite: true }],
      ] as const) {
        const result = await run(tool, args)
        expect(result, `${tool} ${path}`).toMatchObject({ outcome: 'error' })
        expect(result.output).toContain('git or this server obeys it')
      }
    }
    expect(await allOf(cwd)).toEqual(before)
  })

  test('is not reached through a link', async () => {
    const { cwd, run } = await projectWith({ '.git/config': 'c' })
    await symlink('.git', join(cwd, 'link'))
    const result = await run('file_write', { path: 'link/hooks/pre-commit', content: 'x' })
    expect(result.output).toContain('git or this server obeys it')
  })
})
