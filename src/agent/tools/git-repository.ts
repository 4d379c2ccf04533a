import type { Dirent } from 'node:fs'
import { lstat, readdir, realpath } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { CommandResult } from '../../runner/command.ts'
import { type LinkedWorktree, linkedWorktree } from '../../runner/isolation/repositories.ts'
import { confine, isInside, type OpenedPath, openFolder, pathIn, readConfined } from './confine.ts'

/** The most bytes of a file that holds a few names: HEAD, a gitfile, alternates. */
export const MAX_NAMES_BYTES = 64 * 1024

/** Why the git tools do not read the repository of a project. */
export type GitProblem =
  | { readonly type: 'no_repository' }
  /** A part of it leads out of the folder that holds it. */
  | { readonly type: 'leads_outside'; readonly what: string }
  /** A part of it is in another repository, which does not name it as its worktree. */
  | { readonly type: 'not_linked' }
  | { readonly type: 'unusable'; readonly message: string }
  /** git itself failed. */
  | { readonly type: 'command'; readonly result: CommandResult }

const ELSEWHERE =
  'Isolated commands see another one only if RETRAI_TOOL_PATHS of the server names its folder, and can then read it.'

/** A sentence for the model. */
export function describeGitProblem(problem: Exclude<GitProblem, { type: 'command' }>): string {
  switch (problem.type) {
    case 'no_repository':
      return 'fatal: not a git repository (or any of the parent directories): .git'
    case 'leads_outside':
      return `${problem.what} leads out of the project's folder. The git tools read a repository only if all of it is in that folder. ${ELSEWHERE}`
    case 'not_linked':
      return `.git names another repository, which does not name this folder as one of its worktrees, or has another owner. The git tools do not read it. ${ELSEWHERE}`
    case 'unusable':
      return `The repository cannot be read: ${problem.message}.`
  }
}

export type Repository = {
  /** The folder that holds `.git`. */
  readonly holder: string
  /** The folder that all of the repository is in. */
  readonly root: string
  /** Its HEAD and its index. */
  readonly gitDir: OpenedPath
  /** Everything else: the same folder, if it is not a linked worktree. */
  readonly commonDir: OpenedPath
}

/** Looks for `.git` in the project and in the folders above it, as git does. */
export async function findRepository(cwd: string): Promise<Result<Repository, GitProblem>> {
  for (let holder = cwd; ; holder = dirname(holder)) {
    const linked = linkedWorktree(holder)
    if (linked !== null) return openLinked(holder, linked)
    const path = await gitDirIn(holder)
    if (path.isErr()) return err(path.error)
    if (path.value !== null) {
      const opened = await openRepository(holder, path.value)
      if (opened.isErr()) return err(opened.error)
      const gitDir = opened.value
      if (gitDir !== null) return ok({ holder, root: holder, gitDir, commonDir: gitDir })
    }
    if (holder === dirname(holder)) return err({ type: 'no_repository' })
  }
}

async function openLinked(
  holder: string,
  linked: LinkedWorktree,
): Promise<Result<Repository, GitProblem>> {
  const root = linked.commonDir
  const common = await openRepository(root, root)
  if (common.isErr()) return err(common.error)
  const confined = await confine({ cwd: root, dataDir: null }, linked.gitDir)
  const own = confined.isErr() ? err(confined.error) : await openFolder(confined.value)
  if (common.value !== null && own.isOk()) {
    return ok({ holder, root, gitDir: own.value, commonDir: common.value })
  }
  await common.value?.file.close()
  if (own.isOk()) await own.value.file.close()
  return err({ type: 'unusable', message: 'it was changed meanwhile' })
}

export async function closeRepository({ gitDir, commonDir }: Repository): Promise<void> {
  await gitDir.file.close()
  if (commonDir !== gitDir) await commonDir.file.close()
}

/** Where `.git` of a folder leads, which must be inside that folder; null if there is no `.git`. */
async function gitDirIn(holder: string): Promise<Result<string | null, GitProblem>> {
  const path = join(holder, '.git')
  const stats = await lstat(path).catch(() => null)
  if (stats === null) return ok(null)
  if (stats.isDirectory()) return ok(path)
  let target = path
  if (!stats.isSymbolicLink()) {
    const content = await readConfined({ cwd: holder, dataDir: null }, '.git', MAX_NAMES_BYTES)
    const named = content.isOk() ? /^gitdir: (.+?)\r?\n?$/.exec(content.value.toString()) : null
    if (named?.[1] === undefined) return err({ type: 'no_repository' })
    target = resolve(holder, named[1])
  }
  const real = await realpath(target).catch(() => null)
  return real !== null && isInside(holder, real)
    ? ok(real)
    : err({ type: 'leads_outside', what: '.git' })
}

/** Opens a folder; null if it is not a repository. A link in it must not lead out of the folder that holds it. */
async function openRepository(
  root: string,
  path: string,
): Promise<Result<OpenedPath | null, GitProblem>> {
  const confined = await confine({ cwd: root, dataDir: null }, path)
  if (confined.isErr()) return err({ type: 'leads_outside', what: '.git' })
  const opened = await openFolder(confined.value)
  if (opened.isErr()) return ok(null)
  const gitDir = opened.value
  const names = new Set((await entriesOf(gitDir, '.')).map(({ name }) => name))
  const isRepository = ['HEAD', 'objects', 'refs'].every((name) => names.has(name))
  const problem = names.has('commondir')
    ? ({ type: 'not_linked' } as const)
    : isRepository
      ? await linkOut(root, gitDir)
      : null
  if (isRepository && problem === null) return ok(gitDir)
  await gitDir.file.close()
  return problem === null ? ok(null) : err(problem)
}

/** What is in a folder of the repository; nothing if it cannot be read. */
export const entriesOf = (gitDir: OpenedPath, path: string): Promise<readonly Dirent[]> =>
  readdir(pathIn(gitDir, path), { withFileTypes: true }).catch(() => [])

async function linkOut(root: string, gitDir: OpenedPath): Promise<GitProblem | null> {
  const objects = await entriesOf(gitDir, 'objects')
  const folders = objects.map(({ name }) => join('objects', name))
  for (const folder of ['.', 'info', 'refs', 'objects', ...folders]) {
    for (const entry of await entriesOf(gitDir, folder)) {
      if (!entry.isSymbolicLink()) continue
      const what = join('.git', folder, entry.name)
      const real = await realpath(pathIn(gitDir, join(folder, entry.name))).catch(() => null)
      if (real === null || !isInside(root, real)) return { type: 'leads_outside', what }
    }
  }
  return null
}
