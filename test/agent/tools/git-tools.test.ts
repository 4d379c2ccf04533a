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

type Repository = Project & {
  /** A program that leaves the file `ran` beside the project when it is run. */
  readonly program: string
  readonly config: (settings: Readonly<Record<string, string>>) => void
  readonly file: (path: string, text: string) => Promise<void>
  readonly hasRun: () => boolean
}

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
  }
}

const hook = ({ program }: Repository): string => `#!/bin/sh\n'${program}' </dev/null\n`

/** Makes the repository a partial clone that lacks the first version of `a.txt`, which is at `url`. */
async function lackingBlob({ cwd, config }: Repository, url: string): Promise<void> {
  const blob = git(cwd, 'rev-parse', 'HEAD:a.txt').trim()
  await rm(join(cwd, '.git/objects', blob.slice(0, 2), blob.slice(2)))
  config({
    'core.repositoryformatversion': '1',
    'extensions.partialClone': 'origin',
    'remote.origin.promisor': 'true',
    'remote.origin.url': url,
    'protocol.allow': 'always',
    'protocol.ext.allow': 'always',
  })
}

/** Adds a commit with a forged signature. */
async function signedCommit({ cwd }: Repository, kind: 'PGP' | 'SSH'): Promise<void> {
  const tree = git(cwd, 'rev-parse', 'HEAD^{tree}').trim()
  const who = 'Ada <ada@example.org> 1700000000 +0000'
  const signature = `gpgsig -----BEGIN ${kind} SIGNATURE-----\n \n x\n -----END ${kind} SIGNATURE-----`
  const file = join(cwd, '.git', 'signed')
  await writeFile(file, `tree ${tree}\nauthor ${who}\ncommitter ${who}\n${signature}\n\nSigned\n`)
  git(cwd, 'update-ref', 'HEAD', git(cwd, 'hash-object', '-t', 'commit', '-w', file).trim())
}

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
  const folder = join(cwd, 'sub')
  await writeFile(join(folder, 'a.txt'), 'changed\n')
  return folder
}

/** Moves the git folder out of the project, with a setting that runs a program. */
async function moveOut({ cwd, outside, config, program }: Repository): Promise<string> {
  config({ 'core.fsmonitor': program })
  await rename(join(cwd, '.git'), join(outside, 'moved.git'))
  return join(outside, 'moved.git')
}

const [PROGRAM, PROJECT] = ['<program>', '<project>']

/** Settings and files that name the program. */
const using =
  (settings: Readonly<Record<string, string>>, files: Readonly<Record<string, string>> = {}) =>
  async ({ cwd, program, config, file }: Repository): Promise<void> => {
    const filled = (text: string) => text.replace(PROGRAM, program).replace(PROJECT, cwd)
    for (const [path, text] of Object.entries(files)) await file(path, filled(text))
    for (const [key, value] of Object.entries(settings)) config({ [key]: filled(value) })
  }

/** Tricks with which git would not run the program without protection either. */
const HARMLESS: ReadonlySet<string> = new Set([
  'pagers',
  'aliases of the commands themselves',
  'a lazy fetch by a helper of its own',
  'the references of another folder of objects',
  'merge drivers, editors and helpers',
])

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
  pagers: using({
    'core.pager': PROGRAM,
    'pager.status': PROGRAM,
    'pager.diff': PROGRAM,
    'pager.log': PROGRAM,
  }),
  'aliases of the commands themselves': using({
    'alias.status': `!${PROGRAM}`,
    'alias.diff': `!${PROGRAM}`,
    'alias.log': `!${PROGRAM}`,
  }),
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
  'the program that checks a signature': async (made) => {
    await signedCommit(made, 'PGP')
    made.config({ 'log.showSignature': 'true', 'gpg.program': made.program })
  },
  'the program that checks a signature of ssh': async (made) => {
    await signedCommit(made, 'SSH')
    await made.file('signers', '')
    made.config({
      'log.showSignature': 'true',
      'gpg.ssh.program': made.program,
      'gpg.ssh.allowedSignersFile': join(made.cwd, 'signers'),
    })
  },
  'a signature that a format asks about': async (made) => {
    await signedCommit(made, 'PGP')
    made.config({
      'format.pretty': 'format:%G?',
      'gpg.program': made.program,
      'gpg.openpgp.program': made.program,
    })
  },
  'a lazy fetch by a transport that is a program': async (made) =>
    lackingBlob(made, `ext::${made.program} %S`),
  'a lazy fetch by ssh': async (made) => {
    await lackingBlob(made, 'ssh://localhost/none')
    made.config({ 'core.sshCommand': made.program })
  },
  'a lazy fetch through a proxy': async (made) => {
    await lackingBlob(made, 'git://localhost/none')
    made.config({ 'core.gitProxy': made.program })
  },
  'a lazy fetch from a folder, by another program': async (made) => {
    await mkdir(join(made.outside, 'origin'))
    await commit(join(made.outside, 'origin'))
    await lackingBlob(made, join(made.outside, 'origin'))
    made.config({ 'remote.origin.uploadpack': made.program })
  },
  'a lazy fetch by a helper of its own': async (made) => {
    await lackingBlob(made, 'none://x')
    made.config({ 'remote.origin.vcs': `ext::${made.program}` })
  },
  'a lazy fetch from an address that replaces another': async (made) => {
    await lackingBlob(made, 'https://localhost/none')
    made.config({ [`url.ext::${made.program} .insteadOf`]: 'https://' })
  },
  'the monitor of a submodule': async (made) => {
    const folder = await submodule(made)
    git(folder, 'config', 'core.fsmonitor', made.program)
  },
  'a filter of a submodule': async (made) => {
    const folder = await submodule(made)
    await writeFile(join(folder, '.gitattributes'), '*.txt filter=x\n')
    git(folder, 'config', 'filter.x.clean', made.program)
    // The length is the same, so git must read the content.
    await writeFile(join(folder, 'a.txt'), 'b\n')
  },
  'a diff of a submodule, by its own configuration': async (made) => {
    const folder = await submodule(made)
    git(folder, 'config', 'diff.external', made.program)
    git(folder, 'config', 'core.fsmonitor', made.program)
    made.config({ 'diff.submodule': 'diff', 'status.submoduleSummary': 'true' })
  },
  'the references of another folder of objects': async ({ config, cwd, program, file }) => {
    await mkdir(join(cwd, 'other'))
    await commit(join(cwd, 'other'))
    await file('.git/objects/info/alternates', `${join(cwd, 'other/.git/objects')}\n`)
    config({ 'core.alternateRefsCommand': program })
  },
  'merge drivers, editors and helpers': using(
    {
      'merge.x.driver': PROGRAM,
      'core.editor': PROGRAM,
      'sequence.editor': PROGRAM,
      'credential.helper': PROGRAM,
      'core.askPass': PROGRAM,
      'interactive.diffFilter': PROGRAM,
      'trailer.x.command': PROGRAM,
    },
    { '.gitattributes': '*.txt merge=x\n' },
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
    await rm(join(made.cwd, '.git'), { recursive: true })
  },
}

describe.skipIf(isMissing('git'))('no program of a repository is run', () => {
  test.each(Object.entries(TRICKS))('by %s', { timeout: 60_000 }, async (name, setUp) => {
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
    expect(made.hasRun()).toBe(!HARMLESS.has(name))
  })
})

describe.skipIf(isMissing('git'))('a repository that leads out of the project is not read', () => {
  /** A repository outside, with a commit of its own. */
  async function withOther(): Promise<Repository & { readonly other: string }> {
    const made = await repository()
    const other = join(made.outside, 'other')
    await mkdir(other)
    await commit(other)
    git(other, 'commit', '--quiet', '--allow-empty', '--message=secret of another')
    return { ...made, other }
  }

  test.each<[string, RegExp, (made: Repository & { readonly other: string }) => Promise<void>]>([
    [
      'by a link in place of .git',
      /^\.git leads to another repository/,
      async ({ cwd, other }) => {
        await rm(join(cwd, '.git'), { recursive: true })
        await symlink(join(other, '.git'), join(cwd, '.git'))
      },
    ],
    [
      'by a file in place of .git',
      /^\.git leads to another/,
      async ({ cwd, file, other }) => {
        await rm(join(cwd, '.git'), { recursive: true })
        await file('.git', `gitdir: ${join(other, '.git')}\n`)
      },
    ],
    [
      'as a linked worktree of a repository that names another folder',
      /^\.git leads to another/,
      async ({ cwd, other, outside }) => {
        const name = await worktree(other, join(outside, 'linked'))
        await rm(join(cwd, '.git'), { recursive: true })
        await writeFile(join(cwd, '.git'), `gitdir: ${name}\n`)
      },
    ],
    [
      'as a linked worktree that another repository lists by a link',
      /^\.git leads to another repository/,
      async ({ cwd, other, file }) => {
        await rm(join(cwd, '.git'), { recursive: true })
        await file('fake/commondir', `${join(other, '.git')}\n`)
        await file('fake/gitdir', `${join(cwd, '.git')}\n`)
        await file('fake/HEAD', 'ref: refs/heads/main\n')
        await mkdir(join(other, '.git/worktrees'))
        await symlink(join(cwd, 'fake'), join(other, '.git/worktrees/fake'))
        await file('.git', `gitdir: ${join(other, '.git/worktrees/fake')}\n`)
      },
    ],
    [
      'by commondir',
      /^\.git leads to another repository/,
      async ({ file, other }) => file('.git/commondir', join(other, '.git')),
    ],
    [
      'by a link in place of .git/HEAD',
      /^The repository cannot be read: \.git\/HEAD cannot be read/,
      async ({ cwd, other }) => {
        await rm(join(cwd, '.git/HEAD'))
        await symlink(join(other, '.git/HEAD'), join(cwd, '.git/HEAD'))
      },
    ],
  ])('%s', async (_, words, setUp) => {
    const made = await withOther()
    await setUp(made)
    for (const tool of TOOLS) {
      const { outcome, exit_code, output } = await made.run(tool)
      expect({ outcome, exit_code }).toEqual({ outcome: 'error', exit_code: 128 })
      expect(output).toMatch(words)
      expect(output).not.toContain('secret of another')
    }
  })

  test.each(['config', 'index', 'HEAD'])(
    'if .git/%s is a pipe',
    { timeout: 10_000 },
    async (name) => {
      const made = await repository()
      await rm(join(made.cwd, '.git', name))
      await made.run('bash_exec', { command: `mkfifo .git/${name}` })
      for (const tool of TOOLS) expect(await made.run(tool)).toMatchObject({ outcome: 'error' })
    },
  )
})

describe.skipIf(isMissing('git'))('an ordinary repository is read', () => {
  test('with its changes, staged or not, and without a change in it', async () => {
    const made = await repository()
    await made.file('new.txt', 'new\n')
    await made.file('b.txt', 'staged\n')
    git(made.cwd, 'add', 'b.txt')
    const listed = async () => (await readdir(join(made.cwd, '.git'), { recursive: true })).sort()
    const [names, index] = [await listed(), await readFile(join(made.cwd, '.git/index'))]
    const status = '## main\n M a.txt\nA  b.txt\n?? new.txt\n'
    expect(await made.run('git_status')).toMatchObject({ outcome: 'ok', output: status })
    expect((await made.run('git_diff')).output).toMatch(/-a\n\+changed\n.*\+staged\n/s)
    expect((await made.run('git_log')).output).toMatch(/Ada: The first one\n.*a\.txt \| 1 \+/s)
    expect(await listed()).toEqual(names)
    expect(await readFile(join(made.cwd, '.git/index'))).toEqual(index)
  })

  test('without changes, and with its last commits, newest first', async () => {
    const made = await repository()
    await made.file('a.txt', 'a\n')
    git(made.cwd, 'commit', '--quiet', '--allow-empty', '--message=The second one')
    expect((await made.run('git_diff')).output).toBe('No changes to tracked files.')
    expect((await made.run('git_log')).output).toMatch(/The second one\n.*The first one\n/s)
  })

  test('before its first commit', async () => {
    const made = await repository()
    await rm(join(made.cwd, '.git'), { recursive: true })
    git(made.cwd, 'init', '--quiet', '--initial-branch=main')
    git(made.cwd, 'add', '.')
    expect((await made.run('git_diff')).output).toContain('+changed\n')
    const log = await made.run('git_log')
    expect(log).toMatchObject({ outcome: 'error', exit_code: 128 })
    expect(log.output).toContain('does not have any commits yet')
  })

  test('as far as it is in the project', async () => {
    const made = await repository()
    await made.file('part/b.txt', 'here\n')
    git(made.cwd, 'add', 'part')
    const part = join(made.cwd, 'part')
    const { output } = await made.runIn(part, 'git_diff')
    expect(output).toMatch(/b\.txt.*\+here/s)
    expect(output).not.toContain('changed')
    expect((await made.runIn(part, 'git_status')).output).toBe('## main\nA  b.txt\n')
  })

  test('with its packed history, tags and ignored files', async () => {
    const made = await repository()
    git(made.cwd, 'tag', 'one')
    git(made.cwd, 'gc', '--quiet')
    await made.file('.git/info/exclude', 'excluded\n')
    await made.file('.gitignore', 'ignored\n')
    for (const name of ['ignored', 'excluded']) await made.file(name, '')
    expect((await made.run('git_status')).output).toBe('## main\n M a.txt\n?? .gitignore\n')
    expect((await made.run('git_diff')).output).toContain('-a\n+changed\n')
    expect((await made.run('git_log')).output).toContain('The first one')
  })

  test('if it is a linked worktree, without the changes of the main one', async () => {
    const made = await repository()
    const main = join(made.outside, 'main')
    await rename(made.cwd, main)
    await worktree(main, made.cwd)
    await made.file('b.txt', '')
    await made.file('a.txt', 'other\n')
    git(made.cwd, 'sparse-checkout', 'set', '--no-cone', '/a.txt')
    expect((await made.run('git_status')).output).toBe('## linked\n M a.txt\n?? b.txt\n')
    expect((await made.run('git_diff')).output).toContain('-a\n+other\n')
    expect((await made.run('git_log')).output).toContain('The first one')
    expect(git(main, 'status', '--short')).toBe(' M a.txt\n')
  })

  test('with the branch that it follows', async () => {
    const made = await repository()
    const clone = join(made.outside, 'clone')
    git(made.outside, 'clone', '--quiet', made.cwd, clone)
    git(clone, 'commit', '--quiet', '--allow-empty', '--message=Ahead')
    await rm(join(made.cwd), { recursive: true })
    await rename(clone, made.cwd)
    expect((await made.run('git_status')).output).toBe('## main...origin/main [ahead 1]\n')
  })

  test('with SHA-256, a split index and its own line ends', async () => {
    const made = await repository()
    await rm(join(made.cwd, '.git'), { recursive: true })
    git(made.cwd, 'init', '--quiet', '--object-format=sha256', '--initial-branch=main')
    made.config({ 'core.autocrlf': 'true' })
    await made.file('a.txt', 'a\r\n')
    git(made.cwd, 'add', '.')
    git(made.cwd, 'commit', '--quiet', '--message=The first one')
    git(made.cwd, 'update-index', '--split-index')
    await made.file('a.txt', 'a\r\nb\r\n')
    expect((await made.run('git_status')).output).toBe('## main\n M a.txt\n')
    expect((await made.run('git_diff')).output).toMatch(/ a\n\+b\n/)
    expect((await made.run('git_log')).output).toContain('The first one')
  })

  test('with a submodule whose commit has changed', async () => {
    const made = await repository()
    const folder = await submodule(made)
    expect((await made.run('git_status')).output).toBe('## main\n M a.txt\n')
    git(folder, 'commit', '--quiet', '--all', '--message=Further')
    expect((await made.run('git_status')).output).toBe('## main\n M a.txt\n M sub\n')
    expect((await made.run('git_diff')).output).toContain('+Subproject commit')
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
