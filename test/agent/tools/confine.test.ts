import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { confine, openForReading } from '../../../src/agent/tools/confine.ts'
import { writeAtomically } from '../../../src/agent/tools/write-atomically.ts'
import { type Project, projectWith } from './support.ts'

const SECRET = 'secret of another project\n'

/** A project full of ways out; `secret` lies outside. */
async function leakyProject(): Promise<Project> {
  const project = await projectWith({ 'inside.txt': 'inside\n', 'folder/deep.txt': 'deep\n' })
  const { cwd, outside } = project
  await writeFile(join(outside, 'secret'), SECRET)
  await symlink(join(outside, 'secret'), join(cwd, 'link-to-file'))
  await symlink('../outside/secret', join(cwd, 'relative-link'))
  await symlink(outside, join(cwd, 'link-to-folder'))
  await symlink(join(cwd, 'link-to-folder'), join(cwd, 'link-to-link'))
  await symlink(join(outside, 'new'), join(cwd, 'dangling'))
  await symlink(join(outside, 'new-folder'), join(cwd, 'dangling-folder'))
  await symlink('loop', join(cwd, 'loop'))
  return project
}

/** Each leads out of the project, given its folder and the one outside. */
const ESCAPES: readonly (readonly [string, (project: Project) => string])[] = [
  ['..', () => '../outside/secret'],
  ['.. behind a folder', () => 'folder/../../outside/secret'],
  ['.. behind a folder that does not exist', () => 'none/../../outside/secret'],
  ['an absolute path', ({ outside }) => join(outside, 'secret')],
  ['an absolute path that passes the project', ({ cwd }) => `${cwd}/../outside/secret`],
  ['a folder whose name begins like the project', ({ cwd }) => `${cwd}-other/secret`],
  ['a link to a file', () => 'link-to-file'],
  ['a relative link', () => 'relative-link'],
  ['a link to a folder', () => 'link-to-folder/secret'],
  ['a new file in a linked folder', () => 'link-to-folder/sub/new'],
  ['a link to a link', () => 'link-to-link/secret'],
  ['a dangling link', () => 'dangling'],
  ['a dangling link to a folder', () => 'dangling-folder/new'],
  ['a loop of links', () => 'loop'],
]

const CALLS = {
  file_read: (path: string) => ({ path }),
  file_list: (path: string) => ({ path }),
  file_write: (path: string) => ({ path, content: 'overwritten' }),
  file_patch: (path: string) => ({ path, old: 'secret', new: 'patched' }),
  grep_search: (path: string) => ({ path, pattern: 'secret' }),
}

describe.each(Object.entries(CALLS))('%s', (tool, argsFor) => {
  it.each(ESCAPES)('does not leave the project by %s', async (_, pathIn) => {
    const project = await leakyProject()
    const result = await project.run(tool, argsFor(pathIn(project)))
    expect(result).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(result.output).toMatch(/outside the project|a symbolic link to nothing|ELOOP/)
    expect(result.output).not.toContain(SECRET.trim())
    expect(await readdir(project.outside)).toEqual(['secret'])
    expect(await readFile(join(project.outside, 'secret'), 'utf8')).toBe(SECRET)
  })
})

describe('a path inside the project', () => {
  it.each([
    ['as it is', () => 'inside.txt'],
    ['absolute', ({ cwd }: Project) => join(cwd, 'inside.txt')],
    ['with .. that stays inside', () => 'folder/../inside.txt'],
    ['through a link that stays inside', () => 'inner-link/inside.txt'],
    ['through the name of the folder it was opened by', ({ cwd }: Project) => `${cwd}/inside.txt`],
  ])('can be read %s', async (_, pathIn) => {
    const project = await leakyProject()
    await symlink('.', join(project.cwd, 'inner-link'))
    expect(await project.run('file_read', { path: pathIn(project) })).toMatchObject({
      outcome: 'ok',
      output: 'inside\n',
    })
  })

  it('can begin with two dots', async () => {
    const { run } = await projectWith({ '..odd': 'odd\n' })
    expect(await run('file_read', { path: '..odd' })).toMatchObject({ output: 'odd\n' })
  })

  it('is found where the project itself is reached by a link', async () => {
    const { cwd, toolbox } = await projectWith({ 'a.txt': 'a\n' })
    const alias = join(dirname(cwd), 'alias')
    await symlink(cwd, alias)
    const { signal } = new AbortController()
    for (const path of ['a.txt', join(alias, 'a.txt'), join(cwd, 'a.txt')]) {
      const call = { call_id: 'c', tool: 'file_read', args: { path }, read_only: true }
      const result = await toolbox.execute(call, { cwd: alias, signal })
      expect(result).toMatchObject({ outcome: 'ok', output: 'a\n' })
    }
  })
})

describe('a link that is swapped in after the path was checked', () => {
  it.each([
    [
      'of the folder',
      async ({ cwd, outside }: Project) => {
        await rename(join(cwd, 'folder'), join(cwd, 'was-folder'))
        await symlink(outside, join(cwd, 'folder'))
      },
    ],
    [
      'of the file',
      async ({ cwd, outside }: Project) => {
        await rm(join(cwd, 'folder/secret'))
        await symlink(join(outside, 'secret'), join(cwd, 'folder/secret'))
      },
    ],
  ])('in place %s is neither read nor written through', async (_, swap) => {
    const project = await projectWith({ 'folder/secret': 'mine\n' })
    await writeFile(join(project.outside, 'secret'), SECRET)
    const confined = (await confine(project.cwd, 'folder/secret'))._unsafeUnwrap()
    await swap(project)
    const opened = await openForReading(confined)
    expect(opened._unsafeUnwrapErr()).toEqual({ type: 'changed_meanwhile' })
    const written = await writeAtomically(confined, 'overwritten')
    expect(written._unsafeUnwrapErr()).toEqual({ type: 'changed_meanwhile' })
    expect(await readdir(project.outside)).toEqual(['secret'])
    expect(await readFile(join(project.outside, 'secret'), 'utf8')).toBe(SECRET)
  })

  it('again and again while files are written lets none of them out', async () => {
    const { cwd, outside, run } = await projectWith()
    const folder = join(cwd, 'folder')
    let done = false
    const swap = async () => {
      await rm(folder, { recursive: true, force: true })
      await symlink(outside, folder)
      await rm(folder)
      await mkdir(folder)
    }
    const swapping = (async () => {
      // The tool makes the folder too, so a step can find it there already.
      while (!done) await swap().catch(() => {})
    })()
    for (let round = 0; round < 300; round += 1) {
      await run('file_write', { path: 'folder/file', content: `${round}` })
    }
    done = true
    await swapping
    expect(await readdir(outside)).toEqual([])
  })
})

describe('a project that is gone', () => {
  it('makes an error of every file tool', async () => {
    const { cwd, run } = await projectWith()
    await rm(cwd, { recursive: true })
    for (const [tool, argsFor] of Object.entries(CALLS)) {
      expect(await run(tool, argsFor('a'))).toMatchObject({ outcome: 'error' })
    }
    await expect(mkdir(join(cwd, 'x'))).rejects.toThrow('ENOENT')
  })
})
