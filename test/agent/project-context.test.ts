import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { InstalledPrograms } from '../../src/agent/installed-programs.ts'
import { projectContext } from '../../src/agent/project-context.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import type { Command, RunCommand } from '../../src/runner/command.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { isMissing } from '../support/missing.ts'
import { workspaceOf } from '../workspace/support.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'retrai-context-'))
  await mkdir(join(root, 'api/src/deep/deeper'), { recursive: true })
})
afterEach(() => rm(root, { recursive: true, force: true }))

const write = (path: string, text: string) => writeFile(join(root, path), text)

/** The commands of the last look. */
let commands: Command[] = []

async function contextOf(cwd: string) {
  commands = []
  const noted: RunCommand = (command) => {
    commands.push(command)
    return runCommand(command)
  }
  const signal = new AbortController().signal
  const project = { cwd, policy: undefined }
  return projectContext(project, {
    programs: new InstalledPrograms(noted),
    workspace: workspaceOf(cwd),
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
