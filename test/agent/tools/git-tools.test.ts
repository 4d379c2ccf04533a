import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { type Project, projectWith } from './support.ts'

const TOOLS = ['git_status', 'git_diff', 'git_log']

function git(cwd: string, ...args: string[]): string {
  const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }
  const who = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org']
  const allowed = ['-c', 'protocol.file.allow=always']
  return execFileSync('git', [...who, ...allowed, ...args], {
    cwd,
    env,
    encoding: 'utf8',
    stdio: 'pipe',
    timeout: 20_000,
  })
}

type Texts = Readonly<Record<string, string>>
type Repository = Project & {
  /** A program that leaves the file `ran` beside the project when it is run. */
  readonly program: string
  readonly config: (settings: Texts) => void
  readonly file: (path: string, text: string) => Promise<void>
  readonly hasRun: () => boolean
  /** Puts something else in the place of the repository. */
  readonly withoutGit: () => Promise<void>
  /** Fails unless the tools print this. A text is all of it. */
  readonly expectShown: (shown: Shown, folder?: string) => Promise<void>
}
type Shown = Readonly<Partial<Record<'status' | 'diff' | 'log', string | RegExp>>>

async function commit(cwd: string): Promise<void> {
  git(cwd, 'init', '--quiet', '--initial-branch=main', '--template=')
  await writeFile(join(cwd, 'a.txt'), 'a\n')
  git(cwd, 'add', '.')
  git(cwd, 'commit', '--quiet', '--message=The first one')
}

/** A repository with one commit, of which each test has a copy. */
let committed: string
beforeAll(async () => {
  committed = await mkdtemp(join(tmpdir(), 'retrai-git-'))
  if (!isMissing('git')) await commit(committed)
})
afterAll(() => rm(committed, { recursive: true }))

/** A repository with one commit and a change whose content git must read. */
async function repository(): Promise<Repository> {
  const project = await projectWith()
  const { cwd, outside } = project
  const ran = join(outside, 'ran')
  const program = join(outside, 'program')
  await writeFile(program, `#!/bin/sh\n: >'${ran}'\nexit 1\n`, { mode: 0o755 })
  await cp(committed, cwd, { recursive: true })
  await writeFile(join(cwd, 'a.txt'), 'changed\n')
  return {
    ...project,
    program,
    config: (settings) => {
      for (const [key, value] of Object.entries(settings)) git(cwd, 'config', key, value)
    },
    file: async (path, text) => {
      await mkdir(join(cwd, path, '..'), { recursive: true })
      await writeFile(join(cwd, path), text, { mode: 0o755 })
    },
    hasRun: () => existsSync(ran),
    withoutGit: () => rm(join(cwd, '.git'), { recursive: true }),
    expectShown: async (shown, folder = cwd) => {
      for (const [name, wanted] of Object.entries(shown)) {
        const output = wanted instanceof RegExp ? expect.stringMatching(wanted) : wanted
        expect(await project.runIn(folder, `git_${name}`)).toMatchObject({ outcome: 'ok', output })
      }
    },
  }
}

const hook = ({ program }: Repository): string => `#!/bin/sh\n'${program}' </dev/null\n`

/** Adds a linked worktree; returns the folder that its file `.git` names. */
async function worktree(repository: string, folder: string): Promise<string> {
  git(repository, 'worktree', 'add', '--quiet', '-b', 'linked', folder)
  return (await readFile(join(folder, '.git'), 'utf8')).trim().replace('gitdir: ', '')
}

/** A submodule with a change in it; returns its folder. */
async function submodule({ cwd, outside }: Repository): Promise<string> {
  const origin = join(outside, 'sub')
  await mkdir(origin)
  await commit(origin)
  git(cwd, 'submodule', '--quiet', 'add', origin, 'sub')
  git(cwd, 'commit', '--quiet', '--message=A submodule', '--', 'sub', '.gitmodules')
  await writeFile(join(cwd, 'sub/a.txt'), 'changed\n')
  return join(cwd, 'sub')
}

/** Moves the git folder out of the project, with a setting that runs a program. */
async function moveOut({ cwd, outside, config, program }: Repository): Promise<string> {
  config({ 'core.fsmonitor': program })
  await rename(join(cwd, '.git'), join(outside, 'moved.git'))
  return join(outside, 'moved.git')
}

const PROGRAM = '<program>'
const PROJECT = '<project>'

/** Settings and files that name the program. */
const using =
  (settings: Texts, files: Texts = {}) =>
  async ({ cwd, program, config, file }: Repository): Promise<void> => {
    const filled = (text: string) => text.replace(PROGRAM, program).replace(PROJECT, cwd)
    for (const [path, text] of Object.entries(files)) await file(path, filled(text))
    for (const [key, value] of Object.entries(settings)) config({ [key]: filled(value) })
  }

/** The same in a partial clone that lacks the first version of `a.txt`, which is at this address. */
const lacking = (url: string, settings: Texts = {}) => {
  const partial = using({
    'core.repositoryformatversion': '1',
    'extensions.partialClone': 'origin',
    'remote.origin.promisor': 'true',
    'remote.origin.url': url,
    'protocol.allow': 'always',
    'protocol.ext.allow': 'always',
    ...settings,
  })
  return async (made: Repository): Promise<void> => {
    const blob = git(made.cwd, 'rev-parse', 'HEAD:a.txt').trim()
    await rm(join(made.cwd, '.git/objects', blob.slice(0, 2), blob.slice(2)))
    await partial(made)
  }
}

/** The same in a repository whose last commit has a forged signature. */
const signed =
  (kind: 'PGP' | 'SSH', settings: Texts) =>
  async (made: Repository): Promise<void> => {
    const { cwd } = made
    const tree = git(cwd, 'rev-parse', 'HEAD^{tree}').trim()
    const who = 'Ada <ada@example.org> 1700000000 +0000'
    const signature = `gpgsig -----BEGIN ${kind} SIGNATURE-----\n \n x\n -----END ${kind} SIGNATURE-----`
    const file = join(cwd, '.git', 'signed')
    await writeFile(file, `tree ${tree}\nauthor ${who}\ncommitter ${who}\n${signature}\n\nSigned\n`)
    git(cwd, 'update-ref', 'HEAD', git(cwd, 'hash-object', '-t', 'commit', '-w', file).trim())
    await using(settings, { signers: '' })(made)
  }

/** Settings and files of a submodule, and settings of the repository around it. */
const inSubmodule =
  (settings: Texts, around: Texts = {}, files: Texts = {}) =>
  async (made: Repository): Promise<void> => {
    const folder = await submodule(made)
    for (const [key, value] of Object.entries(settings)) {
      git(folder, 'config', key, value.replace(PROGRAM, made.program))
    }
    await using(around, files)(made)
  }

/** What makes git run the program. */
const TRICKS: Readonly<Record<string, (made: Repository) => Promise<void>>> = {
  'a clean filter by .git/info/attributes': using(
    { 'filter.x.clean': PROGRAM },
    { '.git/info/attributes': '*.txt filter=x\n' },
  ),
  'a clean filter by .gitattributes': using(
    { 'filter.x.clean': PROGRAM, 'filter.x.required': 'true' },
    { '.gitattributes': '*.txt filter=x\n' },
  ),
  'a filter process': using(
    { 'filter.x.process': PROGRAM },
    { '.gitattributes': '*.txt filter=x\n' },
  ),
  'a file of attributes that the configuration names': using(
    { 'core.attributesFile': `${PROJECT}/attributes`, 'filter.x.clean': PROGRAM },
    { attributes: '*.txt filter=x\n' },
  ),
  'core.fsmonitor': using({ 'core.fsmonitor': PROGRAM }),
  'a hook in .git/hooks': async (made) => {
    await made.file('.git/hooks/post-index-change', hook(made))
    await utimes(join(made.cwd, 'a.txt'), 1, 1)
    await made.file('a.txt', 'a\n')
  },
  'core.hooksPath': async (made) => {
    await made.file('hooks/post-index-change', hook(made))
    made.config({ 'core.hooksPath': join(made.cwd, 'hooks') })
    await made.file('a.txt', 'a\n')
  },
  'diff.external': using({ 'diff.external': PROGRAM }),
  'the command of a diff driver': using(
    { 'diff.x.command': PROGRAM },
    { '.gitattributes': '*.txt diff=x\n' },
  ),
  'a textconv': using({ 'diff.x.textconv': PROGRAM }, { '.gitattributes': '*.txt diff=x\n' }),
  'an included file': using(
    { 'include.path': `${PROJECT}/included` },
    { included: `[core]\n\tfsmonitor = ${PROGRAM}\n` },
  ),
  'a file that is included on a condition': using(
    { 'includeIf.onbranch:main.path': `${PROJECT}/included` },
    { included: `[core]\n\tfsmonitor = ${PROGRAM}\n` },
  ),
  'config.worktree': using(
    { 'core.repositoryformatversion': '1', 'extensions.worktreeConfig': 'true' },
    { '.git/config.worktree': `[core]\n\tfsmonitor = ${PROGRAM}\n` },
  ),
  'the program that checks a signature': signed('PGP', {
    'log.showSignature': 'true',
    'gpg.program': PROGRAM,
  }),
  'the program that checks a signature of ssh': signed('SSH', {
    'log.showSignature': 'true',
    'gpg.ssh.program': PROGRAM,
    'gpg.ssh.allowedSignersFile': `${PROJECT}/signers`,
  }),
  'a signature that a format asks about': signed('PGP', {
    'format.pretty': 'format:%G?',
    'gpg.program': PROGRAM,
    'gpg.openpgp.program': PROGRAM,
  }),
  'a lazy fetch by a transport that is a program': lacking(`ext::${PROGRAM} %S`),
  'a lazy fetch by ssh': lacking('ssh://localhost/none', { 'core.sshCommand': PROGRAM }),
  'a lazy fetch through a proxy': lacking('git://localhost/none', { 'core.gitProxy': PROGRAM }),
  'a lazy fetch from a folder, by another program': async (made) => {
    const origin = join(made.outside, 'origin')
    await mkdir(origin)
    await commit(origin)
    await lacking(origin, { 'remote.origin.uploadpack': PROGRAM })(made)
  },
  'a lazy fetch from an address that replaces another': async (made) => {
    await lacking('https://localhost/none')(made)
    made.config({ [`url.ext::${made.program} .insteadOf`]: 'https://' })
  },
  'the monitor of a submodule': inSubmodule({ 'core.fsmonitor': PROGRAM }),
  // The length of the file is the same, so git must read the content.
  'a filter of a submodule': inSubmodule(
    { 'filter.x.clean': PROGRAM },
    {},
    { 'sub/.gitattributes': '*.txt filter=x\n', 'sub/a.txt': 'b\n' },
  ),
  'a diff of a submodule, by its own configuration': inSubmodule(
    { 'diff.external': PROGRAM, 'core.fsmonitor': PROGRAM },
    { 'diff.submodule': 'diff', 'status.submoduleSummary': 'true' },
  ),
  'a .git that is a file and names a folder outside': async (made) => {
    const moved = await moveOut(made)
    await made.file('.git', `gitdir: ${moved}\n`)
  },
  'a .git that is a link to a folder outside': async (made) => {
    const moved = await moveOut(made)
    await symlink(moved, join(made.cwd, '.git'))
  },
  'the configuration of a linked worktree, its own and the common one': async ({
    cwd,
    outside,
    config,
    program,
  }) => {
    await rename(cwd, join(outside, 'main'))
    const gitDir = await worktree(join(outside, 'main'), cwd)
    config({ 'core.fsmonitor': program, 'extensions.worktreeConfig': 'true' })
    await writeFile(join(gitDir, 'config.worktree'), `[diff]\n\texternal = ${program}\n`)
    await writeFile(join(cwd, 'a.txt'), 'changed\n')
  },
  'a .git with the configuration of another': async (made) => {
    await moveOut(made)
    await mkdir(join(made.cwd, '.git/worktrees'), { recursive: true })
    await made.file('.git/HEAD', 'ref: refs/heads/main\n')
    await made.file('.git/commondir', '../../outside/moved.git\n')
  },
  'a folder that is a repository itself': async (made) => {
    made.config({
      'core.fsmonitor': made.program,
      'core.bare': 'false',
      'core.worktree': made.cwd,
    })
    const names = await readdir(join(made.cwd, '.git'))
    for (const name of names) {
      await rename(join(made.cwd, '.git', name), join(made.cwd, name))
    }
    await made.withoutGit()
  },
}

describe.skipIf(isMissing('git'))('no program of a repository is run', () => {
  test.each(Object.entries(TRICKS))('by %s', { timeout: 60_000 }, async (_, setUp) => {
    const made = await repository()
    await setUp(made)
    for (const tool of TOOLS) {
      await made.run(tool)
      expect(`${tool}: ${made.hasRun()}`).toBe(`${tool}: false`)
    }
    // A trick without effect on an unprotected git would prove nothing about the protected one.
    for (const args of [['status'], ['diff', 'HEAD'], ['log', '--stat', '--patch']]) {
      if (made.hasRun()) break
      try {
        git(made.cwd, ...args)
      } catch {}
    }
    expect(made.hasRun()).toBe(true)
  })
})

describe.skipIf(isMissing('git'))('a repository that leads out of the project is not read', () => {
  const OUTWARD: Readonly<Record<string, (made: Repository, other: string) => Promise<void>>> = {
    'by a link in place of .git': async ({ cwd, withoutGit }, other) => {
      await withoutGit()
      await symlink(join(other, '.git'), join(cwd, '.git'))
    },
    'by a file in place of .git': async ({ file, withoutGit }, other) => {
      await withoutGit()
      await file('.git', `gitdir: ${join(other, '.git')}\n`)
    },
    'as a linked worktree of a repository that names another folder': async (made, other) => {
      const name = await worktree(other, join(made.outside, 'linked'))
      await made.withoutGit()
      await made.file('.git', `gitdir: ${name}\n`)
    },
    'as a linked worktree that another repository lists by a link': async (made, other) => {
      const { cwd, file, withoutGit } = made
      await withoutGit()
      await file('fake/commondir', `${join(other, '.git')}\n`)
      await file('fake/gitdir', `${join(cwd, '.git')}\n`)
      await file('fake/HEAD', 'ref: refs/heads/main\n')
      await mkdir(join(other, '.git/worktrees'))
      await symlink(join(cwd, 'fake'), join(other, '.git/worktrees/fake'))
      await file('.git', `gitdir: ${join(other, '.git/worktrees/fake')}\n`)
    },
    'by commondir': ({ file }, other) => file('.git/commondir', join(other, '.git')),
    'by a link in place of .git/HEAD': async ({ cwd }, other) => {
      await rm(join(cwd, '.git/HEAD'))
      await symlink(join(other, '.git/HEAD'), join(cwd, '.git/HEAD'))
    },
  }

  test.each(Object.entries(OUTWARD))('%s', async (how, setUp) => {
    const made = await repository()
    const other = join(made.outside, 'other')
    await mkdir(other)
    await commit(other)
    git(other, 'commit', '--quiet', '--allow-empty', '--message=secret of another')
    await setUp(made, other)
    const words = how.endsWith('HEAD')
      ? /^The repository cannot be read: \.git\/HEAD cannot be read/
      : /^\.git leads to another repository/
    for (const tool of TOOLS) {
      const { outcome, exit_code, output } = await made.run(tool)
      expect({ outcome, exit_code }).toEqual({ outcome: 'error', exit_code: 128 })
      expect(output).toMatch(words)
      expect(output).not.toContain('secret of another')
    }
  })

  const PIPES = ['config', 'index', 'HEAD']
  test.each(PIPES)('if .git/%s is a pipe', { timeout: 10_000 }, async (name) => {
    const made = await repository()
    await made.run('bash_exec', { command: `rm .git/${name}; mkfifo .git/${name}` })
    for (const tool of TOOLS) expect(await made.run(tool)).toMatchObject({ outcome: 'error' })
  })
})

describe.skipIf(isMissing('git'))('an ordinary repository is read', () => {
  test('with its changes, as far as it is in the project, then packed, with its last commits, and without a change in it', async () => {
    const made = await repository()
    await made.file('new.txt', 'new\n')
    await made.file('b.txt', 'staged\n')
    git(made.cwd, 'add', 'b.txt')
    const listed = async () => (await readdir(join(made.cwd, '.git'), { recursive: true })).sort()
    const names = await listed()
    const index = await readFile(join(made.cwd, '.git/index'))
    await made.expectShown({
      status: '## main\n M a.txt\nA  b.txt\n?? new.txt\n',
      diff: /-a\n\+changed\n.*\+staged\n/s,
      log: /Ada: The first one\n.*a\.txt \| 1 \+/s,
    })
    expect(await listed()).toEqual(names)
    expect(await readFile(join(made.cwd, '.git/index'))).toEqual(index)

    await made.file('part/c.txt', 'here\n')
    git(made.cwd, 'add', 'part')
    const ofPart = { status: '## main\nA  c.txt\n', diff: /^(?!.*changed).*c\.txt.*\+here/s }
    await made.expectShown(ofPart, join(made.cwd, 'part'))

    git(made.cwd, 'commit', '--quiet', '--all', '--message=The second one')
    git(made.cwd, 'tag', 'two')
    git(made.cwd, 'gc', '--quiet')
    await made.file('.git/info/exclude', 'excluded\n')
    await made.file('.gitignore', 'ignored\n')
    for (const name of ['ignored', 'excluded']) await made.file(name, '')
    await made.expectShown({
      status: '## main\n?? .gitignore\n?? new.txt\n',
      diff: 'No changes to tracked files.',
      log: /The second one\n.*The first one\n/s,
    })
  })

  test('before its first commit', async () => {
    const made = await repository()
    await made.withoutGit()
    git(made.cwd, 'init', '--quiet', '--initial-branch=main')
    git(made.cwd, 'add', '.')
    await made.expectShown({ diff: /\+changed\n/ })
    const log = await made.run('git_log')
    expect(log).toMatchObject({ outcome: 'error', exit_code: 128 })
    expect(log.output).toContain('does not have any commits yet')
  })

  test('if it is a linked worktree, without the changes of the main one', async () => {
    const made = await repository()
    const main = join(made.outside, 'main')
    await rename(made.cwd, main)
    await worktree(main, made.cwd)
    await made.file('b.txt', '')
    await made.file('a.txt', 'other\n')
    git(made.cwd, 'sparse-checkout', 'set', '--no-cone', '/a.txt')
    const status = '## linked\n M a.txt\n?? b.txt\n'
    await made.expectShown({ status, diff: /-a\n\+other\n/, log: /The first one/ })
    expect(git(main, 'status', '--short')).toBe(' M a.txt\n')
  })

  test('with the branch that it follows', async () => {
    const made = await repository()
    const clone = join(made.outside, 'clone')
    git(made.outside, 'clone', '--quiet', made.cwd, clone)
    git(clone, 'commit', '--quiet', '--allow-empty', '--message=Ahead')
    await rm(join(made.cwd), { recursive: true })
    await rename(clone, made.cwd)
    await made.expectShown({ status: '## main...origin/main [ahead 1]\n' })
  })

  test('with SHA-256, a split index and its own line ends', async () => {
    const made = await repository()
    await made.withoutGit()
    git(made.cwd, 'init', '--quiet', '--object-format=sha256', '--initial-branch=main')
    made.config({ 'core.autocrlf': 'true' })
    await made.file('a.txt', 'a\r\n')
    git(made.cwd, 'add', '.')
    git(made.cwd, 'commit', '--quiet', '--message=The first one')
    git(made.cwd, 'update-index', '--split-index')
    await made.file('a.txt', 'a\r\nb\r\n')
    const status = '## main\n M a.txt\n'
    await made.expectShown({ status, diff: / a\n\+b\n/, log: /The first one/ })
  })

  test('with a submodule whose commit has changed', async () => {
    const made = await repository()
    const folder = await submodule(made)
    await made.expectShown({ status: '## main\n M a.txt\n' })
    git(folder, 'commit', '--quiet', '--all', '--message=Further')
    const status = '## main\n M a.txt\n M sub\n'
    await made.expectShown({ status, diff: /\+Subproject commit/ })
  })
})

describe.skipIf(isMissing('git'))('outside of a repository', () => {
  test.each(TOOLS)('%s reports it', async (tool) => {
    const { run } = await projectWith()
    const result = await run(tool)
    expect(result).toMatchObject({ outcome: 'error', exit_code: 128 })
    expect(result.output).toContain('not a git repository')
  })
})
