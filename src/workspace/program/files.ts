import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs'
import { join, relative } from 'node:path'
import { isWithin } from '../../lib/paths.ts'
import type { Answers, InBody, Questions, Served } from '../protocol.ts'
import { foldersDownTo, kindOf, pathIn, pathToWrite, problemOf, Refusal, ROOT } from './paths.ts'

/** Uses a regular file that is open for reading. Without O_NONBLOCK, opening a pipe would wait for a writer. */
export function withFile<T>(real: string | Buffer, use: (file: number, stats: Stats) => T): T {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const file = openSync(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) throw new Refusal(stats.isDirectory() ? 'is_folder' : 'not_a_file')
    return use(file, stats)
  } finally {
    closeSync(file)
  }
}

/** The first bytes of an open file, at most as many. */
function bytesOf(file: number, most: number): Buffer {
  const bytes = Buffer.allocUnsafe(most)
  for (let filled = 0; ; ) {
    const read = filled === most ? 0 : readSync(file, bytes, filled, most - filled, filled)
    if (read === 0) return bytes.subarray(0, filled)
    filled += read
  }
}

/** The content of a regular file that has at most so many bytes. */
export const contentOf = (real: string | Buffer, maxBytes: number): Buffer =>
  withFile(real, (file, { size }) => {
    const content = size > maxBytes ? null : bytesOf(file, Math.min(size, maxBytes) + 1)
    if (content === null || content.length > maxBytes) {
      throw new Refusal({ type: 'too_large', maxBytes })
    }
    return content
  })

export const textOrNull = (real: string | Buffer, maxBytes: number): string | null => {
  try {
    return contentOf(real, maxBytes).toString()
  } catch {
    return null
  }
}

/** Files with their contents, which are in the body one after the other. */
export function withContents<F extends InBody>(files: readonly F[], body: Buffer) {
  let end = 0
  return files.map((file) => {
    end += file.bytes ?? 0
    const content = file.bytes === null ? null : body.subarray(end - file.bytes, end)
    return { ...file, content }
  })
}

export function read({ path, bytes, isToWrite = false }: Questions['read']): Served<'read'> {
  const { real, shown } = isToWrite ? pathToWrite(path) : pathIn(path)
  return withFile(real, (file, { size, mode }) => ({
    shown,
    size,
    mode,
    // One byte more, because the file may grow.
    body: bytesOf(file, Math.min(bytes, size + 1)),
  }))
}

export function resolvePaths({
  paths,
  isToWrite = false,
}: Questions['resolve']): Answers['resolve'] {
  const places = paths.map((path) => {
    try {
      const place = isToWrite ? pathToWrite(path) : pathIn(path)
      return { ...place, kind: kindOf(place.real) }
    } catch (cause) {
      return { problem: problemOf(cause) }
    }
  })
  return { places }
}

export function documents({ names, maxBytes }: Questions['documents']): Answers['documents'] {
  const folders = foldersDownTo(ROOT)
  const root = folders[0] ?? ROOT
  const textAt = (path: string): string | null => {
    try {
      const real = realpathSync(path)
      return isWithin(root, real) ? textOrNull(real, maxBytes) : null
    } catch {
      return null
    }
  }
  return {
    folders: folders.map((folder) => ({
      folder: relative(root, folder),
      texts: names.map((name) => textAt(join(folder, name))),
    })),
  }
}

export const existing = ({ paths }: Questions['existing']): Answers['existing'] => ({
  existing: paths.map((path) => existsSync(path)),
})

export function list({ path, limit }: Questions['list']): Answers['list'] {
  const { real } = pathIn(path)
  const names = readdirSync(real)
  const entries = names.slice(0, limit).map((name) => entryOf(real, name))
  return { entries, more: names.length > limit }
}

function entryOf(folder: string, name: string): Answers['list']['entries'][number] {
  const path = join(folder, name)
  try {
    const found = lstatSync(path)
    if (found.isDirectory()) return { name, kind: 'folder' }
    if (found.isSymbolicLink()) return { name, kind: 'link', target: readlinkSync(path) }
    return found.isFile() ? { name, kind: 'file', size: found.size } : { name, kind: 'other' }
  } catch {
    return { name, kind: 'gone' }
  }
}

/**
 * Reads a YAML file. 16 kB of brackets keep the library busy for seconds, and more of them end the process, so the one who asks
 * has limits.
 */
export async function yaml({ path, maxBytes }: Questions['yaml']): Promise<Answers['yaml']> {
  const text = contentOf(pathIn(path).real, maxBytes).toString()
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text)
  if (document.errors.length > 0) {
    const problems = document.errors.slice(0, 3).map(({ message }) => message.split('\n', 1)[0])
    return { problem: `it is not valid YAML: ${problems.join('; ').replace(/:$/, '')}` }
  }
  let value: unknown
  try {
    value = document.toJS() ?? {}
  } catch (cause) {
    // Aliases that expand beyond the limit of the library, or to themselves.
    return { problem: String(cause) }
  }
  if (JSON.stringify(value).length > maxBytes) throw new Refusal({ type: 'too_large', maxBytes })
  return { value }
}
