import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { InstalledPrograms } from '../../src/agent/installed-programs.ts'
import { ProjectLooks, projectContext } from '../../src/agent/project-context.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import type { Command, RunCommand } from '../../src/runner/command.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { isMissing } from '../support/missing.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'retrai-context-'))
  await mkdir(join(root, 'api/src/deep/deeper'), { recursive: true })
})
afterEach(() => rm(root, { recursive: true, force: true }))

const write = (path: string, text: string) => writeFile(join(root, path), text)

/** The commands of the last look. */
let commands: Command[] = []

async function contextOf(cwd: string, dataDir: string | null = null) {
  commands = []
  const noted: RunCommand = (command) => {
    commands.push(command)
    return runCommand(command)
  }
  const artifacts = createArtifacts(join(root, 'artifacts'))
  const toolbox = createToolbox({ runCommand: noted, artifacts, dataDir, scratchDir: tmpdir() })
  const signal = new AbortController().signal
  const project = { cwd, policy: undefined }
  return projectContext(project, {
    toolbox,
    programs: new InstalledPrograms(noted),
    dataDir,
    signal,
  })
}

test('documents are read from the root of the repository to the project, AGENTS.md before CLAUDE.md', async () => {
  await mkdir(join(root, '.git'))
  await write('AGENTS.md', 'Use tabs.')
  await write('CLAUDE.md', 'Use spaces.')
  await write('api/CLAUDE.md', 'In api, use spaces.')
  const { documents } = await contextOf(join(root, 'api'))
  expect(documents).toEqual([
    {
      path: 'AGENTS.md',
      text: 'Use tabs.',
      sha256: sha256('Use tabs.'),
      bytes: 9,
      truncated: false,
    },
    expect.objectContaining({ path: 'api/CLAUDE.md', text: 'In api, use spaces.' }),
  ])
})

test('keys of .retrai.yml that have no effect are recorded', async () => {
  expect(await contextOf(join(root, 'api'))).not.toHaveProperty('ignored_keys')
  await write('api/.retrai.yml', 'goal: pytest\nmodel: some-model\n')
  expect((await contextOf(join(root, 'api'))).ignored_keys).toEqual(['model'])
})

test('without a repository, only the project itself is read, and no link that leads out of it', async () => {
  await write('AGENTS.md', 'Not mine.')
  await symlink(join(root, 'AGENTS.md'), join(root, 'api/AGENTS.md'))
  expect((await contextOf(join(root, 'api'))).documents).toEqual([])
})

test('all documents together have at most 32 KiB; the hash is that of the whole document', async () => {
  await mkdir(join(root, '.git'))
  const long = 'é'.repeat(20_000)
  await write('AGENTS.md', long)
  await write('api/AGENTS.md', 'near')
  const [far, near] = (await contextOf(join(root, 'api'))).documents
  expect(far).toMatchObject({ truncated: true, bytes: 40_000, sha256: sha256(long) })
  expect(Buffer.byteLength(far?.text ?? '')).toBe(32 * 1024)
  expect(near).toMatchObject({ text: '', truncated: true })
})

test('the files are listed; of deep folders and those that tools make, only the number of files', async () => {
  await write('api/src/a.py', '')
  await write('api/src/deep/deeper/b.py', '')
  await mkdir(join(root, 'api/target/debug'), { recursive: true })
  await write('api/target/debug/x', '')
  const { files, git } = await contextOf(join(root, 'api'))
  expect(files?.split('\n').sort()).toEqual(['src/a.py', 'src/deep/deeper/ (1)', 'target/ (1)'])
  expect(git).toBeNull()
})

test.skipIf(isMissing('git'))(
  'the state of the repository and the installed programs are part of it',
  async () => {
    execFileSync('git', ['init', '-q', '-b', 'trunk', root])
    await write('api/new.py', '')
    const { git, programs } = await contextOf(join(root, 'api'))
    expect(git).toMatch(/trunk[\s\S]*\?\? /)
    expect(programs).toMatch(/^git: git version /m)
  },
)

test('nothing of a look is kept: no artifact, which no record would name, and no folder of a run, which may have ended', async () => {
  const name = 'x'.repeat(60)
  for (let n = 0; n < 700; n += 1) await write(`api/src/deep/deeper/${name}${n}`, '')
  const { files } = await contextOf(join(root, 'api'))
  expect(files?.split('\n')).toEqual(['src/deep/deeper/ (700)'])
  expect(existsSync(join(root, 'artifacts'))).toBe(false)
  expect(commands.length).toBeGreaterThan(0)
  expect(commands.filter(({ run }) => run !== undefined)).toEqual([])
})

/** Looks that end when the test ends them. */
function looksThatWait() {
  const begun: { signal: AbortSignal; end: () => void }[] = []
  const looks = new ProjectLooks((_, signal) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const number = begun.push({ signal, end: resolve })
    return promise.then(() => foundBy(`look ${number}`))
  })
  const of = (signal: AbortSignal) => looks.of({ cwd: root, policy: undefined }, signal)
  return { begun, of }
}

const foundBy = (files: string) => ({ documents: [], files, git: null, programs: null })

test('runs that begin during a look share the next one, which begins after all of them', async () => {
  const { signal } = new AbortController()
  const { begun, of } = looksThatWait()
  const first = of(signal)
  await vi.waitFor(() => expect(begun).toHaveLength(1))
  const others = [1, 2, 3].map(() => of(signal))
  begun[0]?.end()
  expect((await first).files).toBe('look 1')
  await vi.waitFor(() => expect(begun).toHaveLength(2))
  begun[1]?.end()
  expect((await Promise.all(others)).map(({ files }) => files)).toEqual(Array(3).fill('look 2'))
  const later = of(signal)
  await vi.waitFor(() => expect(begun).toHaveLength(3))
  begun[2]?.end()
  expect((await later).files).toBe('look 3')
})

test('a look is stopped when nobody waits for it any more; an aborted run does not wait', async () => {
  const { begun, of } = looksThatWait()
  const [one, other, third] = [new AbortController(), new AbortController(), new AbortController()]
  const first = of(one.signal)
  const same = of(other.signal)
  await vi.waitFor(() => expect(begun).toHaveLength(1))
  const next = of(third.signal)
  third.abort()
  expect((await next).files).toBeNull()
  one.abort()
  expect((await first).files).toBeNull()
  expect(begun[0]?.signal.aborted).toBe(false)
  other.abort()
  expect((await same).files).toBeNull()
  expect(begun[0]?.signal.aborted).toBe(true)
  begun[0]?.end()
})

test('a look that fails fails for every run that waits for it, and the next one begins', async () => {
  const { signal } = new AbortController()
  let failing = true
  const looks = new ProjectLooks(async () => {
    if (failing) throw new Error('it failed')
    return foundBy('the next look')
  })
  const of = () => looks.of({ cwd: root, policy: undefined }, signal)
  const both = Promise.allSettled([of(), of()])
  const planned = of().catch(String)
  const failed = { status: 'rejected', reason: new Error('it failed') }
  expect(await both).toEqual([failed, failed])
  await planned
  failing = false
  expect((await of()).files).toBe('the next look')
})
