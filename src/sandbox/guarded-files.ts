import { lstatSync, opendirSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Notice } from '../domain/records.ts'
import { throwIfShort } from '../lib/message-of.ts'
import { isWithin } from '../lib/paths.ts'
import { sha256 } from '../lib/sha256.ts'
import { readFileAt } from './project-folder.ts'

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
  const repositories = ['.']
  for (const at of repositories) {
    const git = join(at, '.git')
    // A file that leads to a repository elsewhere, or a link: what it leads to is not a part of the project.
    if (!note(git)) continue
    const modules = namesIn(join(project, git, 'modules')).slice(0, MAX_REPOSITORIES)
    for (const folder of [git, ...modules.map((name) => join(git, 'modules', name))]) {
      for (const name of SETTINGS) note(join(folder, name))
      const hooks = join(folder, 'hooks')
      if (!note(hooks)) continue
      for (const name of hooksIn(join(project, hooks))) {
        if (!name.endsWith(EXAMPLE)) note(join(hooks, name))
      }
    }
    const inside = gitlinksIn(join(project, git, 'index')).filter((path) =>
      isWithin('/p', join('/p', path)),
    )
    const room = MAX_REPOSITORIES - repositories.length
    repositories.push(...inside.map((path) => join(at, path)).slice(0, Math.max(0, room)))
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
  const found = readFileAt(path, MAX_BYTES)
  return found && sha256(found.content)
}

const MAX_INDEX_BYTES = 64 * 1024 * 1024
const MAX_LINKS = 200
/** SHA-1 and SHA-256. */
const HASH_BYTES = [20, 32]
const [MODE_AT, HASH_AT] = [24, 40]
const GITLINK = 0o160000
const [EXTENDED, LENGTH] = [0x4000, 0xfff]
const MODES: ReadonlySet<number> = new Set([0o100644, 0o100755, 0o120000, 0o040000, GITLINK])

/** The repositories that an index of git names: `git status` asks git in each of them. Paths from the root of the work tree. */
function gitlinksIn(index: string, depth = 0): readonly string[] {
  const bytes = readFileAt(index, MAX_INDEX_BYTES)?.content
  if (bytes === undefined || bytes.length < 12 || bytes.toString('latin1', 0, 4) !== 'DIRC')
    return []
  for (const hashBytes of HASH_BYTES) {
    const read = readEntries(bytes, hashBytes)
    if (read === null) continue
    const { links, shared } = read
    // A split index has most entries in another file.
    const others = shared === null || depth > 0 ? [] : gitlinksIn(join(dirname(index), shared), 1)
    return [...links, ...others].slice(0, MAX_LINKS)
  }
  return []
}

/** Null if it is not an index with hashes of this length. */
function readEntries(bytes: Buffer, hashBytes: number) {
  const version = bytes.readUInt32BE(4)
  const links: string[] = []
  let [at, name] = [12, '']
  for (let left = bytes.readUInt32BE(8); left > 0; left -= 1) {
    const flagsAt = at + HASH_AT + hashBytes
    if (flagsAt + 4 > bytes.length) return null
    const mode = bytes.readUInt32BE(at + MODE_AT)
    if (!MODES.has(mode)) return null
    const flags = bytes.readUInt16BE(flagsAt)
    let start = flagsAt + ((flags & EXTENDED) === 0 ? 2 : 4)
    let kept = ''
    if (version === 4) {
      let cut = (bytes[start] ?? 0) & 0x7f
      while (((bytes[start] ?? 0) & 0x80) !== 0) {
        start += 1
        cut = ((cut + 1) << 7) | ((bytes[start] ?? 0) & 0x7f)
      }
      start += 1
      kept = name.slice(0, Math.max(0, name.length - cut))
    }
    const end = bytes.indexOf(0, start)
    const length = Math.min(kept.length + end - start, LENGTH)
    if (end < 0 || length !== (flags & LENGTH)) return null
    // Names are bytes: only here they keep their length.
    if (version === 4 || mode === GITLINK) name = kept + bytes.toString('latin1', start, end)
    if (mode === GITLINK) links.push(Buffer.from(name, 'latin1').toString())
    at = version === 4 ? end + 1 : at + (Math.floor((end - at) / 8) + 1) * 8
  }
  return { links, shared: sharedIndex(bytes, at, hashBytes) }
}

function sharedIndex(bytes: Buffer, from: number, hashBytes: number): string | null {
  for (let at = from; at + 8 + hashBytes < bytes.length; at += 8 + bytes.readUInt32BE(at + 4)) {
    if (bytes.toString('latin1', at, at + 4) !== 'link') continue
    return `sharedindex.${bytes.toString('hex', at + 8, at + 8 + hashBytes)}`
  }
  return null
}
