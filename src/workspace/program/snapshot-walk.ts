import { type BigIntStats, lstatSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { LeftOut } from '../../domain/snapshots.ts'
import {
  EMPTY_TREE,
  encodeTree,
  objectId,
  pathBytes,
  shownPath,
  type TreeEntry,
} from '../../lib/git-objects.ts'
import { lineOf, namedGitDir } from '../../lib/linked-worktree.ts'
import { codeOf, throwIfShort } from '../../lib/message-of.ts'
import { isWithin, realPathOf } from '../../lib/paths.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Questions } from '../protocol.ts'
import { textOrNull } from './files.ts'
import { type Rules, rulesText, rulesWithin } from './ignore-rules.ts'
import { Refusal, ROOT } from './paths.ts'
import {
  contentIn,
  diskPath,
  fileMode,
  hashIn,
  holdsSecret,
  isSame,
  isSecret,
  isSettled,
  linkAt,
  MAX_HASHED_BYTES,
  stateOf,
} from './snapshot-files.ts'
import { isIgnored, KnownFolder, type Level } from './snapshot-folder.ts'
import type { SnapshotPacks } from './snapshot-packs.ts'

/** Files, and as many folders, unless another limit is asked for. */
const MAX_FILES = 200_000
/** What changes while it is read is read as often. */
const ATTEMPTS = 3
/** What a name is in the tree; null: nothing. `changed`: it is not what it was a moment ago. */
type Taken = TreeEntry | null | 'changed'

export const TOP = pathBytes(ROOT.endsWith('/') ? ROOT : `${ROOT}/`)
export const onDisk = (bytes: string): string | Buffer => diskPath(TOP + bytes)
export const lstat = (bytes: string): BigIntStats | undefined =>
  lstatSync(onDisk(bytes), { bigint: true, throwIfNoEntry: false })
const namesIn = (bytes: string): string[] => readdirSync(onDisk(bytes), 'latin1').sort()

/** It vanished, or a folder above it did. */
const GONE: ReadonlySet<string | null> = new Set(['ENOENT', 'ENOTDIR'])
/** What was a file or a link is something else. */
const REPLACED: ReadonlySet<string | null> = new Set(['ELOOP', 'ENXIO', 'EINVAL', 'EISDIR'])

/** Walks the project once, and gives what it finds to the packs: a folder after all that is in it. */
export class SnapshotWalk {
  readonly #asked: Questions['snapshot']
  readonly #packs: SnapshotPacks
  /** By the bytes of paths. Of millions, not all are listed. */
  readonly leftOut: { readonly bytes: string; readonly left: Omit<LeftOut, 'path'> }[] = []
  leftOutCount = 0
  files = 0
  bytes = 0
  #seenFiles = 0
  #seenFolders = 0

  constructor(asked: Questions['snapshot'], packs: SnapshotPacks) {
    this.#asked = asked
    this.#packs = packs
  }

  /** @param above the rules of the folders that contain the project */
  project(above: Rules, known: KnownFolder | null): KnownFolder {
    const folder = this.#folder({ bytes: '', shown: '' }, namesIn(''), above, known)
    if (folder.tree.id === EMPTY_TREE) {
      this.#packs.add({ id: EMPTY_TREE, type: 'tree', content: Buffer.alloc(0) })
    }
    return folder
  }

  #folder(
    { bytes, shown }: Pick<Level, 'bytes' | 'shown'>,
    names: string[],
    above: Rules,
    known: KnownFolder | null,
  ): KnownFolder {
    const text = names.includes('.gitignore') ? rulesText(onDisk(`${bytes}.gitignore`)) : null
    const here = { at: bytes, text, isRepository: names.includes('.git') }
    const rules = rulesWithin(above, here, (path) => path.slice(shown.length))
    const now = known ?? new KnownFolder()
    now.forgetAllBut(names)
    const level = { bytes, shown, rules, known: now, isEntered: false }
    const entries: TreeEntry[] = []
    for (const name of names) {
      const entry = name === '.git' ? null : this.#entry(level, name)
      if (entry !== null) entries.push(entry)
    }
    now.tree = this.#tree(entries, now)
    now.entries = entries
    return now
  }

  #tree(entries: readonly TreeEntry[], known: KnownFolder): KnownFolder['tree'] {
    const isKnown = known.hasEntries(entries)
    if (isKnown && this.#packs.needsNot(known.tree.id, 'tree', known.tree.bytes)) return known.tree
    const content = encodeTree(entries)
    const id = objectId('tree', content)
    if (entries.length > 0) this.#packs.add({ id, type: 'tree', content })
    return { id, bytes: content.length }
  }

  #entry(level: Level, name: string): TreeEntry | null {
    const path = level.bytes + name
    if (Math.max(this.#seenFiles, this.#seenFolders) >= (this.#asked.maxFiles ?? MAX_FILES)) {
      return this.#leave(path, { why: 'limit' })
    }
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const taken = this.#taken(level, name, path)
        if (taken !== 'changed') return taken
      }
    } catch (cause) {
      throwIfShort(cause)
      if (cause instanceof Refusal) throw cause
      if (GONE.has(codeOf(cause))) return null
    }
    return this.#leave(path, { why: 'unreadable' })
  }

  #taken(level: Level, name: string, path: string): Taken {
    const stats = lstat(path)
    if (stats === undefined) return null
    const isFolder = stats.isDirectory()
    if (isFolder) this.#seenFolders += 1
    else this.#seenFiles += 1
    // What is a secret is mostly ignored, too. Its commitment says whether it was changed.
    const isSecretFile = stats.isFile() && isSecret(name)
    if (isSecretFile) level.known.names.delete(name)
    else if (isIgnored(level, name, isFolder)) return this.#leave(path, { why: 'ignored' })
    try {
      if (isFolder) return this.#takenFolder(level, name)
      if (isSecretFile) return this.#takenSecret(path, stats)
      if (stats.isFile()) return this.#takenFile(level, name, stats)
      if (stats.isSymbolicLink()) {
        const { link, content } = linkAt(onDisk(path))
        this.#packs.add({ id: link.id, type: 'blob', content })
        return this.#take({ ...link, name }, content.length)
      }
    } catch (cause) {
      if (REPLACED.has(codeOf(cause))) return 'changed'
      throw cause
    }
    return this.#leave(path, { why: stats.isSocket() ? 'socket' : 'device' })
  }

  #takenFolder(level: Level, name: string): Taken {
    const path = level.bytes + name
    const place = { bytes: `${path}/`, shown: `${level.shown}${shownPath(name)}/` }
    const names = namesIn(place.bytes)
    if (names.includes('.git')) {
      const disk = onDisk(path)
      const commit = typeof disk === 'string' ? headOf(disk) : null
      return this.#leave(path, { why: 'repository', ...(commit !== null && { commit }) })
    }
    const known = level.known.names.get(name)
    const folder = this.#folder(place, names, level.rules, known?.folder ?? null)
    if (known !== undefined) known.folder = folder
    return folder.entries.length === 0 ? null : { mode: '40000', name, id: folder.tree.id }
  }

  #takenSecret(path: string, stats: BigIntStats): Taken {
    if (stats.size > MAX_HASHED_BYTES) return this.#leave(path, { why: 'secret' })
    const ownSalt = sha256(shownPath(path) + this.#asked.salt)
    const commitment = hashIn(TOP + path, stats, ownSalt)
    return commitment === null ? 'changed' : this.#leave(path, { why: 'secret', commitment })
  }

  #takenFile(level: Level, name: string, stats: BigIntStats): Taken {
    const path = level.bytes + name
    const size = Number(stats.size)
    const isLarge = size > this.#asked.maxFileBytes
    const known = level.known.names.get(name)
    const before = known?.file
    if (before && isLarge === (before.entry === null) && isSame(before.state, stats)) {
      if (before.entry === null) return this.#leaveLarge(path, size, before.id)
      if (this.#packs.needsNot(before.id, 'blob', size)) return this.#take(before.entry, size)
    }
    const begunMs = Date.now()
    if (isLarge && size > MAX_HASHED_BYTES) return this.#leave(path, { why: 'large', size })
    const content = isLarge ? null : contentIn(TOP + path, stats)
    const id = isLarge ? hashIn(TOP + path, stats) : content && objectId('blob', content)
    if (id === null) return 'changed'
    if (content !== null && holdsSecret(name, content)) return this.#takenSecret(path, stats)
    const entry = content && { mode: fileMode(stats), name, id }
    if (known && isSettled(stats, begunMs)) known.file = { state: stateOf(stats), id, entry }
    if (content === null || entry === null) return this.#leaveLarge(path, size, id)
    this.#packs.add({ id, type: 'blob', content })
    return this.#take(entry, size)
  }

  #take(entry: TreeEntry, bytes: number): TreeEntry {
    this.files += 1
    this.bytes += bytes
    return entry
  }

  #leaveLarge = (path: string, size: number, hash: string): null =>
    this.#leave(path, { why: 'large', size, sha256: hash })

  #leave(bytes: string, left: Omit<LeftOut, 'path'>): null {
    this.leftOutCount += 1
    if (this.leftOut.length < MAX_FILES) this.leftOut.push({ bytes, left })
    return null
  }
}

const MAX_PACKED_REFS_BYTES = 4 * 1024 * 1024
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/
const REF = /^refs\/[\w@+-][\w@+./-]*$/

/**
 * The commit that the HEAD of the repository in a folder names; null if it names none, or is somewhere else than in the project.
 * It is read without git, which would obey the configuration of the repository.
 */
function headOf(folder: string): string | null {
  const gitDir = within(resolve(folder, namedGitDir(folder) ?? '.git'))
  if (gitDir === null) return null
  const head = lineOf(join(gitDir, 'HEAD')) ?? ''
  if (COMMIT.test(head)) return head
  const ref = /^ref: (.+)$/.exec(head)?.[1] ?? ''
  const common = within(resolve(gitDir, lineOf(join(gitDir, 'commondir')) ?? '.'))
  if (common === null || !REF.test(ref) || ref.includes('..')) return null
  const loose = within(join(common, ref))
  const commit = (loose && lineOf(loose)) ?? packedRef(join(common, 'packed-refs'), ref)
  return commit !== null && COMMIT.test(commit) ? commit : null
}

/** A path through no link that leads out of the project. */
function within(path: string): string | null {
  const real = realPathOf(path)
  return isWithin(ROOT, real) ? real : null
}

function packedRef(path: string, ref: string): string | null {
  const lines = textOrNull(path, MAX_PACKED_REFS_BYTES)?.split('\n')
  return lines?.find((line) => line.endsWith(` ${ref}`))?.slice(0, -ref.length - 1) ?? null
}
