import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ok } from 'neverthrow'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import { readPack } from '../../src/lib/git-pack.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { textOf } from '../../src/runner/processes.ts'
import { readWhole, Workspace } from '../../src/workspace/workspace.ts'
import { isolated, startProcess, temporaryFolder } from '../runner/support.ts'
import { LEVELS } from '../support/levels.ts'
import { workspacePrograms } from '../support/processes.ts'

const run = promisify(execFile)
const SEARCH = { path: '.', limit: 100, hidden: false, ignored: false }

/** A project with a few files, its workspace at a level, and a folder of somebody else beside it. */
async function place(level: Level, owner: number | null) {
  const base = await temporaryFolder()
  const [cwd, outside] = [join(base, 'project'), join(base, 'outside')]
  for (const path of [cwd, outside]) await mkdir(path, { mode: 0o755 })
  await run('chmod', ['755', base])
  await writeFile(join(outside, 'secret'), 'secret of another\n')
  await mkdir(join(cwd, 'folder'))
  await writeFile(join(cwd, 'folder/mine'), 'mine\n')
  await run('git', ['init', '--quiet', cwd])
  if (owner !== null) await run('chown', ['-R', `${owner}:${owner}`, cwd])
  const { dataDir, isolation, runner, start, bash } = await isolated(level, { base })
  expect(isolation.level).toBe(level)
  const files = new Workspace({ cwd }, start)
  onTestFinished(() => files[Symbol.asyncDispose]())
  const inRun = (script: string) => bash(script, { run: 'r' })
  return { base, cwd, outside, dataDir, files, bash: inRun, runner }
}

const write = (files: Workspace, path: string, content: string, expected?: string | null) => {
  const body = Buffer.from(content)
  const file = { path, bytes: body.length, ...(expected !== undefined && { expected }) }
  return files.ask('change', { files: [file] }, { body })
}

describe.each(LEVELS.filter(([, level, owner]) => level !== 'landlock' || owner === null))(
  'at the level %s, a workspace',
  { timeout: 60_000 },
  (_, level, owner) => {
    test('reads, lists, searches and changes the files of its project, as the user of commands', async () => {
      const { cwd, files, bash } = await place(level, owner)
      const read = (await readWhole(files, { path: 'folder/mine', maxBytes: 10 }))._unsafeUnwrap()
      expect(read).toMatchObject({ shown: 'folder/mine', sha256: sha256('mine\n') })
      expect(read.content.toString()).toBe('mine\n')
      const written = await write(files, 'a/b/new', 'new\n', null)
      expect(written._unsafeUnwrap().done).toEqual([{ change: 'created', shown: 'a/b/new' }])
      await bash('echo by a command >by-command')
      const owners = ['a', 'a/b/new', 'by-command'].map(async (path) => stat(join(cwd, path)))
      expect(new Set((await Promise.all(owners)).map(({ uid }) => uid))).toEqual(
        new Set([owner ?? process.getuid?.()]),
      )
      const stale = await write(files, 'folder/mine', 'x', sha256('other'))
      expect(stale._unsafeUnwrapErr().problem).toEqual({ type: 'changed_meanwhile' })
      const moved = await files.ask('rename', { path: 'a/b', to: 'c', overwrite: false })
      expect(moved._unsafeUnwrap()).toMatchObject({ shown: 'a/b', shownTo: 'c' })
      const list = (await files.ask('list', { path: '.', limit: 10 }))._unsafeUnwrap()
      const names = list.entries.map(({ name }) => name).sort()
      expect(names).toEqual(['.git', 'a', 'by-command', 'c', 'folder'])
      const grep = { pattern: 'new|mine', output: 'lines', context: 0 } as const
      const found = await files.ask('search', { ...SEARCH, glob: '**/*', grep })
      expect(found._unsafeUnwrap().body.toString()).toBe('./c/new:1:new\n./folder/mine:1:mine\n')
      const status = (await files.ask('git', { show: 'status' }))._unsafeUnwrap()
      expect(status.body.toString()).toContain('?? folder/')
      const asked = { maxFileBytes: 1000, maxBytes: 10_000, salt: '00' }
      const snapshot = (await files.ask('snapshot', asked))._unsafeUnwrap()
      expect(snapshot).toMatchObject({ files: 3, left_out: [], unkept: null })
      const pack = (await files.ask('pack', { number: snapshot.packs - 1 }))._unsafeUnwrap()
      expect(readPack(pack.body)._unsafeUnwrap().at(-1)?.id).toBe(snapshot.tree)
      const removed = await files.ask('remove', { path: 'c/new' })
      expect(removed._unsafeUnwrap()).toMatchObject({ shown: 'c/new', wasFolder: false })
      expect(await readdir(join(cwd, 'c'))).toEqual([])
    })

    test('has one program, which sees nothing of the server and of others, and is started again when it is gone', async () => {
      vi.stubEnv('CANARY_KEY', 'a-key-of-the-server')
      onTestFinished(() => void vi.unstubAllEnvs())
      const { cwd, files, outside, dataDir } = await place(level, owner)
      const exist = async (paths: readonly string[]) =>
        (await files.ask('existing', { paths })).map(({ existing }) => existing)
      const answers = async () =>
        expect(await exist(['folder/mine', 'none'])).toEqual(ok([true, false]))
      await answers()
      const pids = workspacePrograms(cwd)
      expect(pids.length).toBeGreaterThan(0)
      for (const pid of pids) expect(textOf(pid, 'environ')).not.toContain('a-key-of')
      const others = [join(outside, 'secret'), join(dataDir, 'sandboxes')]
      for (const path of level === 'none' ? [] : others) {
        const read = await files.ask('read', { path, bytes: 10 })
        expect(read._unsafeUnwrapErr().problem).toEqual({ type: 'outside_project' })
      }
      if (level === 'namespaces') expect(await exist(others)).toEqual(ok([false, false]))
      for (const pid of pids) process.kill(pid, 'SIGKILL')
      await answers()
      // A question that takes too long ends it, too.
      await writeFile(join(cwd, 'deep.yml'), '['.repeat(30_000))
      const question = { path: 'deep.yml', maxBytes: 64 * 1024 }
      const asked = await files.ask('yaml', question, { withinMs: 1 })
      expect(asked._unsafeUnwrapErr().problem).toMatchObject({ type: 'unanswered' })
      await answers()
      await files[Symbol.asyncDispose]()
      await vi.waitFor(() => expect(workspacePrograms(cwd)).toEqual([]), { timeout: 10_000 })
      expect((await exist([]))._unsafeUnwrapErr().problem).toMatchObject({ why: 'aborted' })
    })
  },
)

/** Swaps a folder with a link by renames until it is killed. */
const SWAP = `
const { renameSync, rmSync } = require('node:fs')
const [folder, link, aside] = process.argv.slice(1)
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

/** A project whose folder `folder` is constantly swapped with a link to the folder outside, by a process of the machine. */
async function swapping(level: Level) {
  const made = await place(level, null)
  const { base, cwd, outside } = made
  await symlink(outside, join(base, 'link'))
  await writeFile(join(outside, 'mine'), 'secret of another\n')
  const paths = [join(cwd, 'folder'), join(base, 'link'), join(base, 'aside')]
  const swapper = spawn(process.execPath, ['-e', SWAP, ...paths], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  onTestFinished(async () => {
    swapper.kill('SIGKILL')
    if (swapper.exitCode === null && swapper.signalCode === null) await once(swapper, 'exit')
  })
  await once(swapper, 'message')
  return made
}

describe.each(LEVELS.filter(([, level, owner]) => level !== 'none' && owner === null))(
  'at the level %s, a folder that is constantly swapped with a link',
  (_, level) => {
    test('is not followed', { timeout: 120_000 }, async () => {
      const { files, outside } = await swapping(level)
      const before = (await readdir(outside)).sort()
      const grep = { pattern: 'e', output: 'lines', context: 0 } as const
      for (let call = 0; call < 100; call += 1) {
        const answers = await Promise.all([
          files.ask('read', { path: 'folder/mine', bytes: 100 }),
          files.ask('list', { path: 'folder', limit: 10 }),
          files.ask('search', { ...SEARCH, path: 'folder', glob: '**/*', grep }),
          write(files, 'folder/mine', 'mine\n'),
          write(files, 'folder/a/new', 'new\n'),
          files.ask('rename', { path: 'folder/secret', to: 'stolen', overwrite: true }),
          files.ask('remove', { path: 'folder/secret' }),
        ])
        for (const answer of answers) {
          const text = answer.isOk() ? `${answer.value.body}${JSON.stringify(answer.value)}` : ''
          expect(text).not.toContain('secret')
        }
      }
      expect((await readdir(outside)).sort()).toEqual(before)
      expect(await readFile(join(outside, 'mine'), 'utf8')).toBe('secret of another\n')
    })
  },
)

test('a project that is replaced by a link is not followed', async () => {
  const { files, cwd, base, outside } = await place('none', null)
  expect((await readWhole(files, { path: 'folder/mine', maxBytes: 10 })).isOk()).toBe(true)
  await run('mv', [cwd, join(base, 'moved')])
  await symlink(outside, cwd)
  const read = await readWhole(files, { path: 'secret', maxBytes: 100 })
  expect(read._unsafeUnwrapErr().problem).toEqual({ type: 'outside_project' })
})

test('an answer that is not valid is no answer', async () => {
  const cwd = await temporaryFolder()
  const script = `process.stdin.on('data', () => process.stdout.write(Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 123, 125])))
process.stdout.write(Buffer.from([0, 0, 0, 8, 0, 0, 0, 0, ...Buffer.from('{"id":0}')]))`
  await using files = new Workspace({ cwd }, (request) =>
    startProcess({ ...request, args: ['-e', script] }),
  )
  const asked = await files.ask('existing', { paths: [] })
  expect(asked._unsafeUnwrapErr().problem).toMatchObject({ type: 'unanswered', why: 'lost' })
})

test('the folder of a project that is gone is a sentence for the model', async () => {
  const cwd = join(await temporaryFolder(), 'none')
  await using files = new Workspace({ cwd }, startProcess)
  const asked = await files.ask('existing', { paths: [] })
  expect(asked._unsafeUnwrapErr().problem).toMatchObject({ why: 'not_started' })
})
