import { lstatSync, opendirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Notice } from '../domain/records.ts'
import { readFileAt } from '../lib/linked-worktree.ts'
import { throwIfShort } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'

/** What git obeys in a folder `.git`, beside its hooks: `commondir` names another folder that has all of these. */
const SETTINGS = ['config', 'config.worktree', 'commondir']

/** What git and this server run or obey later, outside of any container. A container cannot change those that exist. */
export const GUARDED = ['.git/hooks', ...SETTINGS.map((name) => `.git/${name}`), '.retrai.yml']

/** Of the names in a folder, so many are looked at: more in a folder of hooks would keep all other commands waiting. */
const MAX_NAMES = 2_000
/** Submodules that are looked at. */
const MAX_MODULES = 100
/** git installs examples of hooks, which it does not run. */
const EXAMPLE = '.sample'
const MAX_BYTES = 16 * 1024 * 1024
const AGAIN_MS = 50

type Change = Extract<Notice, { kind: 'guard_changed' }>['payload']

/**
 * Looks at the guarded files of a project before a command. Throws if this process is out of descriptors.
 * @returns what appeared, changed or went away since; it waits while this process is out of descriptors
 */
export function watchGuarded(project: string): () => Promise<Change[]> {
  const before = look(project)
  return async () => {
    for (;;) {
      try {
        return changesSince(before, project)
      } catch {
        await pause(AGAIN_MS)
      }
    }
  }
}

function changesSince(before: ReadonlyMap<string, string>, project: string): Change[] {
  const now = look(project)
  const gone = [...before.keys()].filter((path) => !now.has(path))
  const changed = [...now].filter(([path, version]) => before.get(path) !== version)
  return [
    ...changed.map(([path]) => ({ path, sha256: hashOf(join(project, path)) })),
    ...gone.map((path) => ({ path, sha256: null })),
  ]
}

/** The files that exist, each with what changes when it is written or replaced. */
function look(project: string): Map<string, string> {
  const found = new Map<string, string>()
  /** Whether it is a folder, which is not noted. */
  const note = (path: string): boolean => {
    const status = statusOf(join(project, path))
    if (status === null) return false
    if (status.isDirectory()) return true
    const { ino, size, mtimeNs, ctimeNs, mode } = status
    found.set(path, [ino, size, mtimeNs, ctimeNs, mode].join())
    return false
  }
  note('.retrai.yml')
  // A file that leads to a repository elsewhere, or a link: what it leads to is not a part of the project.
  if (!note('.git')) return found
  const modules = namesIn(join(project, '.git/modules')).slice(0, MAX_MODULES)
  for (const folder of ['.git', ...modules.map((name) => join('.git/modules', name))]) {
    for (const name of SETTINGS) note(join(folder, name))
    const hooks = join(folder, 'hooks')
    if (!note(hooks)) continue
    for (const name of namesIn(join(project, hooks))) {
      if (!name.endsWith(EXAMPLE)) note(join(hooks, name))
    }
  }
  return found
}

const statusOf = (path: string) => {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false }) ?? null
  } catch {
    return null
  }
}

/** At most `MAX_NAMES`; none if it is no folder. */
function namesIn(folder: string): string[] {
  const names: string[] = []
  try {
    const entries = opendirSync(folder)
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      if (names.push(entry.name) >= MAX_NAMES) break
    }
    // Before Node 24.1, it cannot be disposed of.
    entries.closeSync()
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
  const found = readFileAt(path, MAX_BYTES)
  return found && sha256(found.content)
}
