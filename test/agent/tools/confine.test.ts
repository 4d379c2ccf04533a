import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Project, projectWith } from './support.ts'

const SECRET = 'secret of another project\n'

/** A project with many ways out; `secret` is outside. */
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

/** Paths that lead out of the project, made from its folder and the one outside. */
const ESCAPES: readonly (readonly [string, (project: Project) => string])[] = [
  ['..', () => '../outside/secret'],
  ['.. after a folder', () => 'folder/../../outside/secret'],
  ['.. after a folder that does not exist', () => 'none/../../outside/secret'],
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
  apply_patch: (path: string) => ({
    input: `*** Begin Patch\n*** Add File: ok.txt\n+a\n*** Update File: ${path}\n-secret\n+x\n*** End Patch`,
  }),
  file_rename: (path: string) => ({ path: 'inside.txt', to: `${path}/x` }),
  grep_search: (path: string) => ({ path, pattern: 'secret' }),
}

test.each(Object.entries(CALLS))('%s does not leave the project', async (tool, argsFor) => {
  const project = await leakyProject()
  for (const [how, pathIn] of ESCAPES) {
    const result = await project.run(tool, argsFor(pathIn(project)))
    expect(result, how).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(result.output).toMatch(/outside the project|a symbolic link to nothing|ELOOP/)
    expect(result.output).not.toContain(SECRET.trim())
    expect(await readdir(project.outside)).toEqual(['secret'])
    expect(await readFile(join(project.outside, 'secret'), 'utf8')).toBe(SECRET)
  }
})

describe('a path inside the project', () => {
  test.each([
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
      output: '1\tinside',
    })
  })

  test('can begin with two dots', async () => {
    const { run } = await projectWith({ '..odd': 'odd\n' })
    expect(await run('file_read', { path: '..odd' })).toMatchObject({ output: '1\todd' })
  })

  test('is found if the project itself is reached by a link', async () => {
    const { cwd, runIn } = await projectWith({ 'a.txt': 'a\n' })
    const alias = join(dirname(cwd), 'alias')
    await symlink(cwd, alias)
    for (const path of ['a.txt', join(alias, 'a.txt'), join(cwd, 'a.txt')]) {
      expect(await runIn(alias, 'file_read', { path })).toMatchObject({
        outcome: 'ok',
        output: '1\ta',
      })
    }
  })
})

describe('a project that was removed', () => {
  test('gives an error from every file tool', async () => {
    const { cwd, run } = await projectWith()
    await rm(cwd, { recursive: true })
    for (const [tool, argsFor] of Object.entries(CALLS)) {
      expect(await run(tool, argsFor('a'))).toMatchObject({ outcome: 'error' })
    }
    await expect(mkdir(join(cwd, 'x'))).rejects.toThrow('ENOENT')
  })
})
