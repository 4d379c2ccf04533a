import { execFileSync } from 'node:child_process'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readProject } from '../../../src/agent/planning/introduction.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { temporaryFolder, writeFiles } from '../../runner/support.ts'
import { isMissing } from '../../support/missing.ts'
import { workspaceOf } from '../../workspace/support.ts'

/** What an agent is shown of the folder `api` of a folder with these files. */
async function contextOf(files: Readonly<Record<string, string>>, folders: string[] = []) {
  const root = await temporaryFolder()
  await writeFiles(root, { 'api/a.py': '', ...files })
  for (const folder of folders) await mkdir(join(root, folder), { recursive: true })
  return readProject(workspaceOf(join(root, 'api')), new AbortController().signal)
}

test('documents are read from the root of the repository to the project, AGENTS.md before CLAUDE.md', async () => {
  const files = { 'AGENTS.md': 'Use tabs.', 'CLAUDE.md': 'Use spaces.' }
  const near = { 'api/CLAUDE.md': 'In api, use spaces.' }
  const { documents } = await contextOf({ ...files, ...near }, ['.git'])
  const text = 'Use tabs.'
  expect(documents).toEqual([
    { path: 'AGENTS.md', text, sha256: sha256(text), bytes: 9, truncated: false },
    expect.objectContaining({ path: 'api/CLAUDE.md', text: 'In api, use spaces.' }),
  ])
})

test('keys of .retrai.yml that have no effect are recorded', async () => {
  expect(await contextOf({})).not.toHaveProperty('ignored_keys')
  const settings = { 'api/.retrai.yml': 'goal: pytest\nmodel: some-model\n' }
  expect((await contextOf(settings)).ignored_keys).toEqual(['model'])
})

test('without a repository, only the project itself is read, and no link that leads out of it', async () => {
  const root = await temporaryFolder()
  await writeFiles(root, { 'AGENTS.md': 'Not mine.', 'api/a.py': '' })
  await symlink(join(root, 'AGENTS.md'), join(root, 'api/AGENTS.md'))
  const { signal } = new AbortController()
  expect((await readProject(workspaceOf(join(root, 'api')), signal)).documents).toEqual([])
})

test('all documents together have at most 32 KiB; the hash is that of the whole document', async () => {
  const long = 'é'.repeat(20_000)
  const files = { 'AGENTS.md': long, 'api/AGENTS.md': 'near' }
  const [far, near] = (await contextOf(files, ['.git'])).documents
  expect(far).toMatchObject({ truncated: true, bytes: 40_000, sha256: sha256(long) })
  expect(Buffer.byteLength(far?.text ?? '')).toBe(32 * 1024)
  expect(near).toMatchObject({ text: '', truncated: true })
})

test('the files are listed; of deep folders and those that tools make, only the number of files', async () => {
  const deep = { 'api/src/deep/deeper/b.py': '', 'api/target/debug/x': '' }
  const { files, git } = await contextOf(deep)
  expect(files?.split('\n').sort()).toEqual(['a.py', 'src/deep/deeper/ (1)', 'target/ (1)'])
  expect(git).toBeNull()
})

test.skipIf(isMissing('git'))('the state of the repository is part of it', async () => {
  const root = await temporaryFolder()
  execFileSync('git', ['init', '-q', '-b', 'trunk', root])
  await writeFiles(root, { 'new.py': '' })
  const { signal } = new AbortController()
  expect((await readProject(workspaceOf(root), signal)).git).toMatch(/trunk[\s\S]*\?\? /)
})
