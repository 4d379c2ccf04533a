import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { confine, openForReading, openTree } from '../../../src/agent/tools/confine.ts'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import { writeAtomically } from '../../../src/agent/tools/write-atomically.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
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

describe.each(Object.entries(CALLS))('%s', (tool, argsFor) => {
  test.each(ESCAPES)('does not leave the project by %s', async (_, pathIn) => {
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
    const { cwd, toolbox } = await projectWith({ 'a.txt': 'a\n' })
    const alias = join(dirname(cwd), 'alias')
    await symlink(cwd, alias)
    const { signal } = new AbortController()
    for (const path of ['a.txt', join(alias, 'a.txt'), join(cwd, 'a.txt')]) {
      const call = { call_id: 'c', tool: 'file_read', args: { path }, read_only: true }
      const result = await toolbox.execute(call, { cwd: alias, signal })
      expect(result).toMatchObject({ outcome: 'ok', output: '1\ta' })
    }
  })
})

describe('a link that replaces a path after the check', () => {
  test.each([
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
    const confined = (await confine({ ...project, dataDir: null }, 'folder/secret'))._unsafeUnwrap()
    await swap(project)
    const opened = await openForReading(confined)
    expect(opened._unsafeUnwrapErr()).toEqual({ type: 'changed_meanwhile' })
    const written = await writeAtomically(confined, 'overwritten')
    expect(written._unsafeUnwrapErr()).toEqual({ type: 'changed_meanwhile' })
    expect(await readdir(project.outside)).toEqual(['secret'])
    expect(await readFile(join(project.outside, 'secret'), 'utf8')).toBe(SECRET)
  })
})

/** Swaps a folder with a link by renames until it is killed. */
const SWAP = `
const { renameSync, rmSync } = require('node:fs')
const [folder, link, aside] = process.argv.slice(1)
/** A tool may have created a folder with that name meanwhile. */
const move = (from, to) => {
  for (;;) {
    try {
      return renameSync(from, to)
    } catch {
      try {
        rmSync(to, { recursive: true, force: true })
      } catch {}
    }
  }
}
process.send('swapping')
for (;;) {
  move(folder, aside)
  move(link, folder)
  move(folder, link)
  move(aside, folder)
}`

/** A project whose folder `folder` is constantly swapped with a link to the folder outside. */
async function swappingProject() {
  const project = await projectWith({ 'folder/mine': 'mine\n', 'folder/sub/deep': 'deep\n' })
  const { cwd, outside } = project
  await mkdir(join(outside, 'sub'))
  for (const name of ['mine', 'theirs', 'sub/deep']) await writeFile(join(outside, name), SECRET)
  await symlink(outside, join(dirname(cwd), 'link'))
  const paths = [join(cwd, 'folder'), join(dirname(cwd), 'link'), join(dirname(cwd), 'aside')]
  const swapper = spawn(process.execPath, ['-e', SWAP, ...paths], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  onTestFinished(async () => {
    swapper.kill('SIGKILL')
    if (swapper.exitCode === null && swapper.signalCode === null) await once(swapper, 'exit')
  })
  await once(swapper, 'message')
  return { ...project, swapper }
}

/** Only the content of the files inside and outside shows which of them was used. */
const allOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true })).sort()

describe('a folder that another process constantly swaps with a link', () => {
  test.each([
    ['file_read', { path: 'folder/mine' }, 300],
    ['file_read', { path: 'folder/sub/deep' }, 300],
    ['file_list', { path: 'folder' }, 300],
    ['file_list', { path: 'folder/sub' }, 300],
    ['file_write', { path: 'folder/mine', content: 'mine\n' }, 150],
    ['file_write', { path: 'folder/a/b/new', content: 'new' }, 150],
    ['file_patch', { path: 'folder/mine', old: 'e', new: 'e ' }, 150],
    ['file_delete', { path: 'folder/theirs' }, 150],
    [
      'apply_patch',
      {
        input:
          '*** Begin Patch\n*** Add File: folder/a/b/new\n+x\n*** Delete File: folder/mine\n*** End Patch',
      },
      100,
    ],
    ['file_delete', { path: 'folder/sub/deep' }, 150],
    ['file_rename', { path: 'folder/theirs', to: 'stolen' }, 150],
    ['file_rename', { path: 'folder/mine', to: 'folder/sub/moved' }, 150],
    ['grep_search', { path: 'folder', pattern: 'e' }, 20],
    ['grep_search', { path: 'folder/mine', pattern: 'e' }, 20],
    ['grep_search', { pattern: 'e' }, 20],
    ['find_files', { pattern: 'folder/*' }, 5],
    ['find_files', { pattern: '**/*' }, 5],
  ])('is not followed by %s %j', { timeout: 60_000 }, async (tool, args, times) => {
    const { outside, run, swapper } = await swappingProject()
    const before = await allOf(outside)
    for (let call = 0; call < times; call += 1) {
      const { output } = await run(tool, args)
      expect(output).not.toMatch(/theirs(?!")|secret of another/)
    }
    expect(swapper.exitCode).toBeNull()
    expect(await allOf(outside)).toEqual(before)
    for (const name of ['mine', 'theirs', 'sub/deep']) {
      expect(await readFile(join(outside, name), 'utf8')).toBe(SECRET)
    }
  })
})

describe('the data folder of the server', () => {
  /** A project with the data folder in it, for which no run would be created. */
  async function projectWithData() {
    const project = await projectWith({ '.retrai/keys/keyring.json': 'the keys\n' })
    const dataDir = join(project.cwd, '.retrai')
    await symlink('.retrai', join(project.cwd, 'link'))
    const toolbox = createToolbox({
      runCommand,
      artifacts: project.artifacts,
      dataDir,
      scratchDir: dataDir,
    })
    const run = (tool: string, args: Readonly<Record<string, string>>) =>
      toolbox.execute(
        { call_id: 'c', tool, args, read_only: false },
        { cwd: project.cwd, signal: new AbortController().signal },
      )
    return { dataDir, run }
  }

  test.each(['.retrai/keys/keyring.json', 'link/keys/keyring.json', '.retrai/new', '.retrai'])(
    'cannot be reached by %s',
    async (path) => {
      const { dataDir, run } = await projectWithData()
      for (const [tool, argsFor] of Object.entries(CALLS)) {
        const { outcome, output } = await run(tool, argsFor(path))
        expect(outcome).toBe('error')
        expect(output).toContain("the server's data folder")
      }
      expect(await allOf(dataDir)).toEqual(['keys', 'keys/keyring.json'])
      expect(await readFile(join(dataDir, 'keys/keyring.json'), 'utf8')).toBe('the keys\n')
    },
  )

  test('cannot be reached by a path, even if a person allowed the call', async () => {
    const { dataDir } = await projectWithData()
    const project = { cwd: dirname(dataDir), dataDir }
    for (const path of ['.retrai', '.retrai/keys/new', 'link/keys/keyring.json']) {
      expect((await confine(project, path))._unsafeUnwrapErr()).toEqual({ type: 'data_folder' })
    }
    const root = (await confine(project, '.'))._unsafeUnwrap()
    expect((await openTree(root, project))._unsafeUnwrapErr()).toEqual({ type: 'data_folder' })
  })

  test('blocks every tool if the project contains it', async () => {
    const { run } = await projectWithData()
    for (const [tool, args] of [
      ['bash_exec', { command: 'cat .retrai/keys/keyring.json' }],
      ['git_status', {}],
      ['file_read', { path: 'link' }],
    ] as const) {
      const { outcome, output } = await run(tool, args)
      expect(outcome).toBe('error')
      expect(output).toContain("contains the server's data folder")
    }
  })

  test('is not searched together with the folders around it', async () => {
    const { run } = await projectWithData()
    for (const [tool, args] of [
      ['grep_search', { pattern: 'keys' }],
      ['find_files', { pattern: '**/*' }],
    ] as const) {
      const { outcome, output } = await run(tool, args)
      expect(outcome).toBe('error')
      expect(output).toContain("the server's data folder")
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
