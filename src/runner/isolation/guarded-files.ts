import { lstatSync, opendirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Notice } from '../../domain/records.ts'
import { sha256 } from '../../lib/sha256.ts'
import { throwIfShort } from '../../lib/shortage.ts'
import { contentOf, gitlinksIn } from './git-index.ts'
import { isWithin } from './sandbox.ts'

/** What git obeys in a folder `.git`, beside its hooks: `commondir` names another folder that has all of these. */
const SETTINGS = ['config', 'config.worktree', 'commondir']

/** What git and this server run or obey later, outside of any container. A container cannot change those that exist. */
export const GUARDED = ['.git/hooks', ...SETTINGS.map((name) => `.git/${name}`), '.retrai.yml']

/** How many repositories inside a project are looked at, one in another included. */
const MAX_REPOSITORIES = 100
/** git installs examples of hooks, which it does not run. */
const EXAMPLE = '.sample'
const MAX_BYTES = 16 * 1024 * 1024
/** With more names in its folder of hooks, a project would keep all other commands waiting. */
const MAX_NAMES = 2_000
/** Other files in that folder only run if one of these names them. */
const RUN_BY_GIT = [
  ...['applypatch-msg', 'pre-applypatch', 'post-applypatch', 'pre-commit', 'pre-merge-commit'],
  ...['prepare-commit-msg', 'commit-msg', 'post-commit', 'pre-rebase', 'post-checkout'],
  ...['post-merge', 'pre-push', 'pre-receive', 'update', 'proc-receive', 'post-receive'],
  ...['post-update', 'reference-transaction', 'push-to-checkout', 'pre-auto-gc', 'post-rewrite'],
  ...['sendemail-validate', 'fsmonitor-watchman', 'p4-changelist', 'p4-prepare-changelist'],
  ...['p4-post-changelist', 'p4-pre-submit', 'post-index-change'],
]
const AGAIN_MS = 50

type Change = Extract<Notice, { kind: 'guard_changed' }>['payload']

/** The guarded files of a project, as they are before a command. */
export class GuardedFiles {
  readonly #project: string
  readonly #before: ReadonlyMap<string, string>

  /** Throws if this process is out of descriptors. */
  constructor(project: string) {
    this.#project = project
    this.#before = this.#look()
  }

  /** What appeared, changed or went away since. Waits while this process is out of descriptors. */
  async changes(): Promise<Change[]> {
    for (;;) {
      try {
        return this.#changes()
      } catch {
        await pause(AGAIN_MS)
      }
    }
  }

  #changes(): Change[] {
    const now = this.#look()
    const gone = [...this.#before.keys()].filter((path) => !now.has(path))
    const changed = [...now].filter(([path, version]) => this.#before.get(path) !== version)
    return [
      ...changed.map(([path]) => ({ path, sha256: hashOf(join(this.#project, path)) })),
      ...gone.map((path) => ({ path, sha256: null })),
    ]
  }

  /** The files that exist, each with what changes when it is written or replaced. */
  #look(): Map<string, string> {
    const found = new Map<string, string>()
    /** Whether it is a folder, which is not noted. */
    const note = (path: string): boolean => {
      const status = statusOf(join(this.#project, path))
      if (status === null) return false
      if (status.isDirectory()) return true
      const { ino, size, mtimeNs, ctimeNs, mode } = status
      found.set(path, [ino, size, mtimeNs, ctimeNs, mode].join())
      return false
    }
    note('.retrai.yml')
    const repositories = ['.']
    for (const at of repositories) {
      const git = join(at, '.git')
      // A file that leads to a repository elsewhere, or a link: what it leads to is not a part of the project.
      if (!note(git)) continue
      const modules = namesIn(join(this.#project, git, 'modules')).slice(0, MAX_REPOSITORIES)
      for (const folder of [git, ...modules.map((name) => join(git, 'modules', name))]) {
        for (const name of SETTINGS) note(join(folder, name))
        const hooks = join(folder, 'hooks')
        if (!note(hooks)) continue
        for (const name of hooksIn(join(this.#project, hooks))) {
          if (!name.endsWith(EXAMPLE)) note(join(hooks, name))
        }
      }
      const inside = this.#links(join(this.#project, git, 'index'))
      const room = MAX_REPOSITORIES - repositories.length
      repositories.push(...inside.map((path) => join(at, path)).slice(0, Math.max(0, room)))
    }
    return found
  }

  /** A large index takes milliseconds to read, so that is done only after it has changed. */
  #links(index: string): readonly string[] {
    const status = statusOf(index)
    if (status === null) return []
    const version = [status.ino, status.size, status.mtimeNs, status.ctimeNs].join()
    const known = indexes.get(index)
    if (known?.version === version) return known.links
    if (indexes.size >= MAX_INDEXES) indexes.clear()
    const links = gitlinksIn(index).filter((path) => isWithin('/p', join('/p', path)))
    indexes.set(index, { version, links })
    return links
  }
}

const MAX_INDEXES = 256
/** What the last look at each index found. */
const indexes = new Map<string, { readonly version: string; readonly links: readonly string[] }>()

const statusOf = (path: string) => {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false }) ?? null
  } catch {
    return null
  }
}

/** The names of hooks: those in the folder or, if these are too many to look at all of them, those that git runs and some others. */
function hooksIn(folder: string): string[] {
  const names = namesIn(folder)
  return names.length < MAX_NAMES ? names : [...RUN_BY_GIT, ...names]
}

/** At most `MAX_NAMES`; none if it is no folder. */
function namesIn(folder: string): string[] {
  const names: string[] = []
  try {
    const entries = opendirSync(folder)
    try {
      for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
        names.push(entry.name)
        if (names.length >= MAX_NAMES) break
      }
    } finally {
      entries.closeSync()
    }
  } catch (cause) {
    throwIfShort(cause)
  }
  return names
}

/** Null if it is too large, or neither a file nor a link. */
function hashOf(path: string): string | null {
  try {
    if (lstatSync(path).isSymbolicLink()) return sha256(readlinkSync(path))
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
  const content = contentOf(path, MAX_BYTES)
  return content && sha256(content)
}
