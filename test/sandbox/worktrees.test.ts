import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, readdirSync } from 'node:fs'
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { policyOfRun } from '../../src/server/commands.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { BARE } from '../agent/tools/bare-call.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { LEVELS_HERE } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'

const LEVELS = LEVELS_HERE.filter((level) => level !== 'none')

const git = (cwd: string, ...args: readonly string[]): string =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
    cwd,
    encoding: 'utf8' as const,
    stdio: 'pipe',
  })

/** A repository with two linked worktrees; the first is the project. */
async function place(level: (typeof LEVELS)[number]) {
  const base = await temporaryFolder()
  const at = (...path: readonly string[]): string => join(base, ...path)
  for (const name of ['main', 'home']) await mkdir(at(name))
  git(at('main'), 'init', '--quiet', '--initial-branch=main')
  await writeFile(at('main/a'), 'a\n')
  git(at('main'), 'add', '.')
  git(at('main'), 'commit', '--quiet', '--message=first')
  await writeFile(at('main/untracked'), 'CANARY')
  for (const name of ['project', 'other']) git(at('main'), 'worktree', 'add', '--quiet', at(name))
  await writeFile(at('main/.git/hooks/post-index-change'), '#!/bin/sh\n', { mode: 0o755 })
  const env = { PATH: process.env.PATH, HOME: at('home') }
  const { isolation, run, start } = await isolated(level, { base, env })
  const toolbox = createToolbox({
    runCommand: run,
    artifacts: { put: async () => '' },
  })
  /** Calls a tool in a folder, the project if none is given. */
  const call = async (tool: string, args: Record<string, string> = {}, cwd = at('project')) => {
    await using workspace = new Workspace({ cwd }, start)
    return await toolbox.execute(
      { call_id: '1', tool, args, read_only: false },
      { ...BARE, cwd, workspace, signal: new AbortController().signal, runId: 'run' },
    )
  }
  const bash = (command: string, cwd?: string) => call('bash_exec', { command }, cwd)
  const policy = async (cwd = at('project')) =>
    (
      await policyOfRun(isolation, DEFAULT_LIMITS, cwd, {
        atLeast: null,
        network: 'none',
      })
    )._unsafeUnwrap()
  return { at, call, bash, policy }
}

type Place = Awaited<ReturnType<typeof place>>

/** Everything in a folder, with the text of each file. */
async function contents(folder: string): Promise<Record<string, string>> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  const paths = files.map(({ parentPath, name }) => join(parentPath, name))
  const texts = await Promise.all(paths.map((path) => readFile(path, 'latin1')))
  return Object.fromEntries(paths.map((path, index) => [path, texts[index] ?? '']))
}

const CHANGES = [
  'git add .',
  'git -c user.name=a -c user.email=a@b commit -am second',
  'git branch evil',
  'git update-ref refs/heads/main HEAD^',
  'git config core.fsmonitor evil',
  'git worktree prune --expire=now',
  'git gc --prune=now',
  'git stash',
  'echo evil >{GIT}/hooks/post-checkout',
  'echo evil >{GIT}/hooks/post-index-change',
  'echo evil >>{GIT}/config',
  'echo {BASE}/evil >{GIT}/objects/info/alternates',
  'echo evil >{GIT}/packed-refs',
  'echo evil >{GIT}/refs/heads/main',
  'rm -rf {GIT}/objects',
  'mv {GIT} {GIT}2',
  'echo {BASE}/evil >{GIT}/worktrees/project/commondir',
  'echo {BASE}/evil >{GIT}/worktrees/other/gitdir',
  'echo evil >{GIT}/worktrees/project/config.worktree',
  'echo evil >{GIT}/worktrees/other/HEAD',
  'touch {BASE}/main/evil {BASE}/other/evil',
] as const

describe.skipIf(isMissing('git')).each(LEVELS)('in a linked worktree, at the level %s', (level) => {
  test('git and the git tools read the history, and do not see the other worktrees', async () => {
    const { at, call, bash, policy } = await place(level)
    await writeFile(at('project/a'), 'changed\n')
    expect(await call('git_status')).toMatchObject({ output: '## project\n M a\n' })
    expect((await call('git_diff')).output).toContain('-a\n+changed\n')
    expect((await call('git_log')).output).toContain(': first')
    const { output } = await bash(
      `git status --short && git diff && git log --format=%s; cat ${at('main/untracked')}`,
    )
    expect(output).toMatch(/^ M a\n[\s\S]*-a\n\+changed\nfirst\n/)
    expect(output).not.toContain('CANARY')
    expect((await policy()).visible).toContain('repository')
    expect((await policy()).protected).toEqual(level === 'namespaces' ? ['.git'] : [])
  })

  test('no command changes the repository or another worktree', async () => {
    const { at, bash } = await place(level)
    await writeFile(at('project/a'), 'changed\n')
    const before = [await contents(at('main')), await contents(at('other'))]
    for (const change of CHANGES) {
      await bash(change.replaceAll('{GIT}', at('main/.git')).replaceAll('{BASE}', at()))
    }
    expect([await contents(at('main')), await contents(at('other'))]).toEqual(before)
    // Without isolation, git would have changed it.
    git(at('project'), 'add', '.')
    expect(await contents(at('main'))).not.toEqual(before[0])
  })

  test('a subfolder of it is a project with the same repository', async () => {
    const { at, call, bash } = await place(level)
    const project = at('project/sub')
    await mkdir(project)
    await writeFile(join(project, 'b'), '')
    expect(await call('git_status', {}, project)).toMatchObject({ output: '## project\n?? ./\n' })
    const { output } = await bash('git log --format=%s; cat ../a; echo evil >../.git', project)
    expect(output).toMatch(/^first\n/)
    expect(await readFile(at('project/.git'), 'utf8')).toMatch(/^gitdir: /)
  })

  const REPOSITORIES: Readonly<Record<string, (at: Place['at']) => Promise<void>>> = {
    'that does not name the project': async (at) =>
      writeFile(at('project/.git'), `gitdir: ${at('main/.git/worktrees/other')}\n`),
    'that is not one of worktrees': async (at) =>
      writeFile(at('project/.git'), `gitdir: ${at('main/.git')}\n`),
    'with another common folder': async (at) => {
      await rename(at('main/.git/worktrees'), at('worktrees'))
      await symlink(at('worktrees'), at('main/.git/worktrees'))
    },
    'that is reached by a link in the project': async (at) => {
      await rm(at('project/.git'))
      await symlink(at('main/.git'), at('project/link'))
      await mkdir(at('project/fake/worktrees/x'), { recursive: true })
      await writeFile(at('project/fake/worktrees/x/gitdir'), `${at('project/.git')}\n`)
      await writeFile(at('project/fake/worktrees/x/commondir'), '../../../link\n')
      await writeFile(at('project/.git'), 'gitdir: fake/worktrees/x\n')
    },
    "around the home of the server's user": async (at) => {
      await rm(at('home'), { recursive: true })
      await rename(at('main/.git'), at('.git'))
      git(at(), 'worktree', 'repair', at('project'))
    },
  }

  test.each(Object.entries(REPOSITORIES))('a repository %s is not shown', async (_, setUp) => {
    const { at, bash, policy } = await place(level)
    await setUp(at)
    expect((await policy()).visible).not.toContain('repository')
    const { output } = await bash(`cat ${at('main/.git/HEAD')} ${at('.git/HEAD')}`)
    expect(output).not.toContain('ref:')
  })

  test.runIf(process.getuid?.() === 0)('a repository of another user is not shown', async () => {
    const { at, policy } = await place(level)
    chownSync(at('main/.git'), 1500, 1500)
    expect((await policy()).visible).not.toContain('repository')
    expect(existsSync(at('main/.git/HEAD'))).toBe(true)
  })
})
