import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Answers } from '../answers.ts'
import type { Questions } from '../questions.ts'
import { kindOf, pathIn, pathToWrite, problemOf, Refusal } from './paths.ts'

/** Uses a regular file that is open for reading. Without O_NONBLOCK, opening a pipe would wait for a writer. */
export function withFile<T>(real: string, use: (file: number, stats: Stats) => T): T {
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

/** The bytes of an open file from a place on, at most as many; fewer if it ends before. */
function bytesOf(file: number, from: number, most: number): Buffer {
  const bytes = Buffer.allocUnsafe(most)
  for (let filled = 0; ; ) {
    const read = filled === most ? 0 : readSync(file, bytes, filled, most - filled, from + filled)
    if (read === 0) return bytes.subarray(0, filled)
    filled += read
  }
}

/** The content of a regular file that has at most so many bytes. */
export const contentOf = (real: string, maxBytes: number): Buffer =>
  withFile(real, (file, { size }) => {
    const content = size > maxBytes ? null : bytesOf(file, 0, Math.min(size, maxBytes) + 1)
    if (content === null || content.length > maxBytes) {
      throw new Refusal({ type: 'too_large', maxBytes })
    }
    return content
  })

export const textOrNull = (real: string, maxBytes: number): string | null => {
  try {
    return contentOf(real, maxBytes).toString()
  } catch {
    return null
  }
}

export function read({ path, from, bytes, isToWrite = false }: Questions['read']): {
  readonly answer: Answers['read']
  readonly body: Buffer
} {
  const { real, shown } = isToWrite ? pathToWrite(path) : pathIn(path)
  return withFile(real, (file, { size, mode }) => ({
    answer: { shown, size, mode },
    // One byte more, because the file may grow.
    body: bytesOf(file, from, Math.min(bytes, Math.max(0, size - from) + 1)),
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

export const texts = ({ paths, maxBytes }: Questions['texts']): Answers['texts'] => ({
  texts: paths.map((path) => {
    try {
      return textOrNull(pathIn(path).real, maxBytes)
    } catch {
      return null
    }
  }),
})

/** By the clock of the kernel, which no program sets. */
export const changed = ({ paths }: Questions['changed']): Answers['changed'] => ({
  changed: paths.map((path) => {
    try {
      return String(statSync(path, { bigint: true }).ctimeNs)
    } catch {
      return null
    }
  }),
})

export function list({ path, limit }: Questions['list']): Answers['list'] {
  const { real } = pathIn(path)
  const folder = opendirSync(real)
  const entries: Answers['list']['entries'] = []
  try {
    for (let next = folder.readSync(); next !== null; next = folder.readSync()) {
      if (entries.length === limit) return { entries, more: true }
      entries.push(entryOf(real, next.name))
    }
    return { entries, more: false }
  } finally {
    folder.closeSync()
  }
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
