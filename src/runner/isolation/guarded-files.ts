import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readFileSync,
  readlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Notice } from '../../domain/records.ts'
import { sha256 } from '../../lib/sha256.ts'
import { throwIfShort } from '../../lib/shortage.ts'

/** What git and this server run or obey later, outside of any container. A container cannot change those that exist. */
export const GUARDED = ['.git/hooks', '.git/config', '.retrai.yml']

const HOOKS = '.git/hooks'
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
    // A file that leads to a repository elsewhere, or a link: what it leads to is not a part of the project.
    if (!note('.git')) return found
    note('.git/config')
    if (!note(HOOKS)) return found
    for (const name of hooksIn(join(this.#project, HOOKS))) {
      if (!name.endsWith(EXAMPLE)) note(`${HOOKS}/${name}`)
    }
    return found
  }
}

const statusOf = (path: string) => {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false }) ?? null
  } catch {
    return null
  }
}

/** The names of hooks: those in the folder or, if these are too many to look at all of them, those that git runs and some others. */
function hooksIn(folder: string): string[] {
  const names: string[] = []
  try {
    const entries = opendirSync(folder)
    try {
      for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
        names.push(entry.name)
        if (names.length >= MAX_NAMES) return [...RUN_BY_GIT, ...names]
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
    const descriptor = openSync(
      path,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    )
    try {
      const status = fstatSync(descriptor)
      return status.isFile() && status.size <= MAX_BYTES ? sha256(readFileSync(descriptor)) : null
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}
