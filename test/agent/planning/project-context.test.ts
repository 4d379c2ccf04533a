import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readProject } from '../../../src/agent/planning/introduction.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { isMissing } from '../../support/missing.ts'
import { workspaceOf } from '../../workspace/support.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'retrai-context-'))
  await mkdir(join(root, 'api/src/deep/deeper'), { recursive: true })
})
afterEach(() => rm(root, { recursive: true, force: true }))

const write = (path: string, text: string) => writeFile(join(root, path), text)

const contextOf = (cwd: string) => readProject(workspaceOf(cwd), new AbortController().signal)

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

test.skipIf(isMissing('git'))('the state of the repository is part of it', async () => {
  execFileSync('git', ['init', '-q', '-b', 'trunk', root])
  await write('api/new.py', '')
  expect((await contextOf(join(root, 'api'))).git).toMatch(/trunk[\s\S]*\?\? /)
})
