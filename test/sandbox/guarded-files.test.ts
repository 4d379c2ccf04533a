import { Dir } from 'node:fs'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { sha256 } from '../../src/lib/sha256.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { watchGuarded } from '../../src/sandbox/guarded-files.ts'
import { temporaryFolder } from '../runner/support.ts'

let project = ''
beforeEach(async () => {
  project = await temporaryFolder()
  await mkdir(join(project, '.git/hooks'), { recursive: true })
  await writeFile(join(project, '.git/config'), '[core]\n')
  await writeFile(join(project, '.git/hooks/pre-commit.sample'), '')
})

/** What is reported of a command, by path. */
async function reported(script: string): Promise<Readonly<Record<string, string | null>>> {
  const notices: [string, string | null][] = []
  await commandRunner(DEFAULT_LIMITS)({
    file: 'bash',
    args: ['-c', script],
    cwd: project,
    timeoutMs: 60_000,
    onNotice: (notice) => {
      if (notice.kind === 'guard_changed')
        notices.push([notice.payload.path, notice.payload.sha256])
    },
    signal: new AbortController().signal,
  })
  return Object.fromEntries(notices)
}

test('a command that changes nothing that git or the server runs later reports nothing', async () => {
  const script =
    'cat .git/config; echo new >.git/hooks/new.sample; echo x >file; mkdir .git/objects'
  expect(await reported(script)).toEqual({})
})

test('a new hook, and settings that appeared or changed, are reported with the hash of what they hold', async () => {
  const script = 'echo evil >.git/hooks/pre-commit; echo evil >>.git/config; echo evil >.retrai.yml'
  expect(await reported(script)).toEqual({
    '.git/hooks/pre-commit': sha256('evil\n'),
    '.git/config': sha256('[core]\nevil\n'),
    '.retrai.yml': sha256('evil\n'),
  })
})

test('of thousands of files beside the hooks, not all are reported', async () => {
  const found = await reported('cd .git/hooks; for n in {1..4000}; do : >other$n; done')
  expect(Object.keys(found).length).toBeGreaterThan(1_000)
  expect(Object.keys(found).length).toBeLessThanOrEqual(2_000)
})

test('a file that is replaced by another with the same size and time is reported', async () => {
  const script = 'echo "[core]" >new; touch -r .git/config new; mv new .git/config'
  expect(await reported(script)).toEqual({ '.git/config': sha256('[core]\n') })
})

test('a deleted file, a thing that is not a file, and the target of a link are reported too', async () => {
  await rm(join(project, '.git/hooks'), { recursive: true })
  const script = 'rm .git/config; mkfifo .retrai.yml; ln -s /tmp/hooks .git/hooks'
  expect(await reported(script)).toEqual({
    '.git/config': null,
    '.retrai.yml': null,
    '.git/hooks': sha256('/tmp/hooks'),
  })
})

test('a link in place of the repository is reported, and not followed', async () => {
  const elsewhere = await temporaryFolder()
  await writeFile(join(elsewhere, 'config'), 'secret')
  expect(await reported(`rm -rf .git; ln -s ${elsewhere} .git`)).toEqual({
    '.git': sha256(elsewhere),
    '.git/config': null,
  })
  await rm(join(project, '.git'))
  await symlink(elsewhere, join(project, '.git'))
  expect(await reported(`echo changed >${elsewhere}/config`)).toEqual({})
})

test('what leads git to other settings is reported', async () => {
  const script = `mkdir -p .git/modules/lib/hooks; echo ../ev >.git/commondir; echo evil >.git/config.worktree
echo evil >.git/modules/lib/config; echo evil >.git/modules/lib/hooks/post-index-change`
  expect(Object.keys(await reported(script)).toSorted()).toEqual([
    '.git/commondir',
    '.git/config.worktree',
    '.git/modules/lib/config',
    '.git/modules/lib/hooks/post-index-change',
  ])
})

test('Node 24.0, which cannot dispose of a folder, sees a new hook, too', async () => {
  const dispose = Object.getOwnPropertyDescriptor(Dir.prototype, Symbol.dispose)
  Reflect.deleteProperty(Dir.prototype, Symbol.dispose)
  try {
    const changes = watchGuarded(project)
    await writeFile(join(project, '.git/hooks/pre-commit'), 'evil')
    expect(await changes()).toEqual([{ path: '.git/hooks/pre-commit', sha256: sha256('evil') }])
  } finally {
    if (dispose !== undefined) Object.defineProperty(Dir.prototype, Symbol.dispose, dispose)
  }
})
