import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { InstalledPrograms } from '../../src/agent/installed-programs.ts'
import { ProjectLooks, projectContext } from '../../src/agent/project-context.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { isMissing } from '../support/missing.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'retrai-context-'))
  await mkdir(join(root, 'api/src/deep/deeper'), { recursive: true })
})
afterEach(() => rm(root, { recursive: true, force: true }))

const write = (path: string, text: string) => writeFile(join(root, path), text)

async function contextOf(cwd: string, dataDir: string | null = null) {
  const artifacts = createArtifacts(join(root, 'artifacts'))
  const toolbox = createToolbox({ runCommand, artifacts, dataDir, scratchDir: tmpdir() })
  const signal = new AbortController().signal
  const project = { cwd, runId: 'a', policy: undefined }
  return projectContext(project, {
    toolbox,
    programs: new InstalledPrograms(runCommand),
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

/** Looks that end when the test ends them. */
function looksThatWait() {
  const begun: { runId: string; signal: AbortSignal; end: () => void }[] = []
  const looks = new ProjectLooks(({ runId }, signal) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    begun.push({ runId, signal, end: resolve })
    return promise.then(() => ({ documents: [], files: runId, git: null, programs: null }))
  })
  const of = (runId: string, signal: AbortSignal) =>
    looks.of({ cwd: root, runId, policy: undefined }, signal)
  return { begun, of }
}

test('runs that begin during a look share the next one, which begins after all of them', async () => {
  const { signal } = new AbortController()
  const { begun, of } = looksThatWait()
  const first = of('a', signal)
  await vi.waitFor(() => expect(begun).toHaveLength(1))
  const others = ['b', 'c', 'd'].map((runId) => of(runId, signal))
  begun[0]?.end()
  expect((await first).files).toBe('a')
  await vi.waitFor(() => expect(begun).toHaveLength(2))
  begun[1]?.end()
  expect((await Promise.all(others)).map(({ files }) => files)).toEqual(['b', 'b', 'b'])
  const later = of('e', signal)
  await vi.waitFor(() => expect(begun).toHaveLength(3))
  begun[2]?.end()
  expect((await later).files).toBe('e')
})

test('a look is stopped when nobody waits for it any more; an aborted run does not wait', async () => {
  const { begun, of } = looksThatWait()
  const [one, other, third] = [new AbortController(), new AbortController(), new AbortController()]
  const first = of('a', one.signal)
  const same = of('b', other.signal)
  await vi.waitFor(() => expect(begun).toHaveLength(1))
  const next = of('c', third.signal)
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
  const looks = new ProjectLooks(async ({ runId }) => {
    if (failing) throw new Error(`${runId} failed`)
    return { documents: [], files: runId, git: null, programs: null }
  })
  const of = (runId: string) => looks.of({ cwd: root, runId, policy: undefined }, signal)
  const both = Promise.allSettled([of('a'), of('b')])
  const planned = of('c').catch(String)
  const failed = { status: 'rejected', reason: new Error('a failed') }
  expect(await both).toEqual([failed, failed])
  await planned
  failing = false
  expect((await of('d')).files).toBe('d')
})
