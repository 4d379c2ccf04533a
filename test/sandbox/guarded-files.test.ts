import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '../../src/lib/sha256.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { temporaryFolder } from '../runner/support.ts'
import { isMissing } from '../support/missing.ts'

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
    ...{ file: 'bash', args: ['-c', script], cwd: project, timeoutMs: 60_000 },
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

test('among thousands of files beside the hooks, a hook is reported, and not all of them', async () => {
  const script = 'cd .git/hooks; for n in {1..4000}; do : >other$n; done; echo evil >post-checkout'
  const found = await reported(script)
  expect(found['.git/hooks/post-checkout']).toBe(sha256('evil\n'))
  expect(Object.keys(found).length).toBeLessThanOrEqual(2_001)
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
    ...['.git/commondir', '.git/config.worktree', '.git/modules/lib/config'],
    '.git/modules/lib/hooks/post-index-change',
  ])
})

describe.skipIf(isMissing('git'))('a repository that the index names', () => {
  const inside = `git init -q lib; cd lib; git config user.name a; git config user.email a@b.c
git commit -q --allow-empty -m one; id=$(git rev-parse HEAD); cd ..`
  const evil = `printf '[core]\\n\\tfsmonitor = "touch ../pwned; false"\\n' >>lib/.git/config`

  test.each([
    ['of version 2', 'git update-index --index-version 2'],
    ['of version 4', 'git update-index --index-version 4'],
    ['that is split', 'git update-index --split-index'],
    ['with hashes of SHA-256', 'true', 'sha256'],
  ])('is reported with its settings, from an index %s', async (_, how, format = 'sha1') => {
    await rm(join(project, '.git'), { recursive: true })
    const link = 'git update-index --add --cacheinfo 160000,$id,lib'
    const files = 'touch a zzz; git add a zzz'
    const made = await reported(
      `export GIT_DEFAULT_HASH=${format}; git init -q; ${files}; ${inside}; ${link}; ${how}`,
    )
    expect(Object.keys(made)).toContain('lib/.git/config')
    expect(Object.keys(await reported(evil))).toEqual(['lib/.git/config'])
    expect(await reported('echo >zzz')).toEqual({})
  })
})

test.each(['DIRC', 'DIRC\0\0\0\x02\xff\xff\xff\xff', 'nothing', ''])(
  'an index that is not one changes nothing (%j)',
  async (index) => {
    await writeFile(join(project, '.git/index'), Buffer.from(index, 'latin1'))
    expect(await reported('true')).toEqual({})
  },
)
