import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fstatSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { pathBytes, shownPath } from '../../lib/git-objects.ts'
import { codeOf } from '../../lib/message-of.ts'
import type { Answers, CopiedFile, Questions } from '../protocol.ts'
import { withContents } from './files.ts'
import { inFolder, namesOf, OpenFolder } from './open-folder.ts'
import { pathIn, Refusal, ROOT } from './paths.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
const { COPYFILE_EXCL, COPYFILE_FICLONE } = constants
/** The room on the disk is looked at whenever so much was written. */
const LOOK_BYTES = 16 * 1024 * 1024
const MAX_LEFT = 100
const NO_ACCESS: ReadonlySet<string | null> = new Set(['EACCES', 'EPERM'])
const GONE: ReadonlySet<string | null> = new Set(['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'])

/**
 * Copies the project with names, modes and times, through no link. Whatever is put in the place of a file or folder while that is
 * copied, the copy has what it was.
 */
export function copy(asked: Questions['copy']): Answers['copy'] {
  // It must still be where it was.
  pathIn('.')
  mkdirSync(asked.to, { recursive: true, mode: 0o700 })
  using from = new OpenFolder(pathBytes(ROOT))
  using into = new OpenFolder(pathBytes(asked.to))
  const copying = new Copying(asked)
  try {
    copying.all(from, into, '')
  } catch (cause) {
    throw codeOf(cause) === 'ENOSPC' || codeOf(cause) === 'EDQUOT' ? NO_ROOM : cause
  }
  return copying.done
}

const NO_ROOM = new Refusal({
  type: 'unusable',
  message: 'the disk has no room for a copy of the project',
})

class Copying {
  readonly #asked: Questions['copy']
  readonly #skip: ReadonlySet<string>
  #unlooked = LOOK_BYTES
  readonly done = { files: 0, bytes: 0, left: [] as string[] }

  constructor(asked: Questions['copy']) {
    this.#asked = asked
    this.#skip = new Set(asked.skip)
  }

  /** @param above the path of both folders, '' or with a slash at its end */
  all(from: OpenFolder, into: OpenFolder, above: string): void {
    for (const name of from.names()) {
      const path = above + name
      if (this.#skip.has(shownPath(path))) continue
      try {
        this.#one(from, into, name, path)
      } catch (cause) {
        if (NO_ACCESS.has(codeOf(cause))) this.#leave(path)
        else if (!GONE.has(codeOf(cause))) throw cause
      }
    }
  }

  #one(from: OpenFolder, into: OpenFolder, name: string, path: string): void {
    const stats = lstatSync(from.at(name), { bigint: true })
    if (stats.isDirectory()) {
      using inner = from.open(name)
      mkdirSync(into.at(name), 0o700)
      using copied = into.open(name)
      this.all(inner, copied, `${path}/`)
      chmodSync(into.at(name), permissionsOf(stats))
    } else if (stats.isSymbolicLink()) {
      symlinkSync(readlinkSync(from.at(name), { encoding: 'buffer' }), into.at(name))
    } else if (!stats.isFile() || !this.#file(from, into, name)) {
      this.#leave(path)
      return
    }
    lutimesSync(into.at(name), ...timesOf(stats))
  }

  /** False if it is no file any more. */
  #file(from: OpenFolder, into: OpenFolder, name: string): boolean {
    const file = openSync(from.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const stats = fstatSync(file, { bigint: true })
      if (!stats.isFile()) return false
      this.done.files += 1
      this.done.bytes += Number(stats.size)
      const { maxBytes } = this.#asked
      if (this.done.bytes > maxBytes) {
        const message = `a copy of the project would have more than ${maxBytes} bytes`
        throw new Refusal({ type: 'unusable', message })
      }
      this.#content(file, stats, into.at(name))
      return true
    } finally {
      closeSync(file)
    }
  }

  #content(file: number, stats: BigIntStats, to: string | Buffer): void {
    this.#needRoom(Number(stats.size))
    // No command may make a file that runs with the rights of its owner, and neither may this program.
    const isPlain = (stats.mode & 0o7000n) === 0n
    if (isPlain && process.platform === 'linux') {
      copyFileSync(`/proc/self/fd/${file}`, to, COPYFILE_EXCL | COPYFILE_FICLONE)
    } else copyPieces(file, stats, to)
  }

  #needRoom(bytes: number): void {
    this.#unlooked += bytes
    if (this.#unlooked < LOOK_BYTES) return
    this.#unlooked = 0
    const { bavail, bsize } = statfsSync(this.#asked.to)
    if (bavail * bsize - bytes < this.#asked.freeBytes) throw NO_ROOM
  }

  #leave(path: string): void {
    if (this.done.left.length < MAX_LEFT) this.done.left.push(shownPath(path))
  }
}

const permissionsOf = ({ mode }: BigIntStats): number => Number(mode & 0o777n)

/** In seconds. */
const timesOf = ({ atimeNs, mtimeNs }: BigIntStats): [number, number] => [
  Number(atimeNs) / 1e9,
  Number(mtimeNs) / 1e9,
]

const PIECE_BYTES = 1024 * 1024

function copyPieces(file: number, stats: BigIntStats, to: string | Buffer): void {
  const copied = openSync(to, 'wx', 0o600)
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    for (let at = 0; at < stats.size; ) {
      const read = readSync(file, piece, 0, PIECE_BYTES, at)
      if (read === 0) break
      writeFileSync(copied, piece.subarray(0, read))
      at += read
    }
    fchmodSync(copied, permissionsOf(stats))
  } finally {
    closeSync(copied)
  }
}

/** Makes files what is given. A link or a file that is in the place of a folder above one of them is replaced, and not followed. */
export function put({ to, files }: Questions['put'], body: Buffer): Answers['put'] {
  for (const { path, mode, content } of withContents(files, body)) {
    const { above, last } = namesOf(path)
    const enter = (folder: OpenFolder, name: string) => folderIn(folder, name, content !== null)
    inFolder(pathBytes(to), above, enter, (folder) => replace(folder, last, mode, content))
  }
  return {}
}

/** The folder of this name; null if there is none and none is made. */
function folderIn(above: OpenFolder, name: string, isMade: boolean): OpenFolder | null {
  const stats = lstatSync(above.at(name), { throwIfNoEntry: false })
  if (stats?.isDirectory() !== true) {
    if (!isMade) return null
    rmSync(above.at(name), { force: true })
    mkdirSync(above.at(name), 0o755)
  } else if ((stats.mode & 0o700) !== 0o700) chmodSync(above.at(name), stats.mode | 0o700)
  return above.open(name)
}

function replace(
  folder: OpenFolder,
  name: string,
  mode: CopiedFile['mode'],
  content: Buffer | null,
): void {
  const path = folder.at(name)
  rmSync(path, { recursive: true, force: true })
  if (content === null) return
  if (mode === '120000') symlinkSync(content, path)
  else {
    writeFileSync(path, content, { flag: 'wx' })
    chmodSync(path, mode === '100755' ? 0o755 : 0o644)
  }
}
