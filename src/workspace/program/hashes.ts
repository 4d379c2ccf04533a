import { lstatSync } from 'node:fs'
import { encodeTree, objectId, pathBytes, type TreeEntry } from '../../lib/git-objects.ts'
import type { Answers, Questions } from '../protocol.ts'
import { inFolder, namesOf, type OpenFolder } from './open-folder.ts'
import { ROOT } from './paths.ts'
import { fileMode, hashIn, linkAt } from './snapshot-files.ts'

/** What tools keep in folders of packages to be faster. It changes whenever they run, and may decide what they find. */
const CACHE =
  /(?:^|\/)(?:node_modules\/\.(?:cache|vite|vite-temp|vitest|vitest-cache)|\.?venv\/(?:.*\/)?__pycache__)$/

/** The hash of each path, by which a later change of anything but caches is found. No hash for what cannot be read to its end. */
export function hashes({ paths, withinMs, ...limits }: Questions['hashes']): Answers['hashes'] {
  const untilMs = performance.now() + withinMs
  const caches: string[] = []
  const found = paths.map(pathBytes).map((path) => {
    try {
      const { above, last } = namesOf(path)
      const open = (folder: OpenFolder, name: string) => folder.open(name)
      return inFolder(pathBytes(ROOT), above, open, (folder) => {
        const entry = new Hashing(limits, untilMs, caches).entryOf(folder, last, path)
        return entry && objectId('tree', encodeTree([entry]))
      })
    } catch {
      return null
    }
  })
  return { hashes: found, caches }
}

/** The hash of one path. It throws if there is none: too much is there, it took too long, or a file was changed while it was read. */
class Hashing {
  readonly #left: { maxFiles: number; maxBytes: number }
  readonly #untilMs: number
  readonly #caches: string[]

  constructor(
    limits: Pick<Questions['hashes'], 'maxFiles' | 'maxBytes'>,
    untilMs: number,
    caches: string[],
  ) {
    this.#left = { ...limits }
    this.#untilMs = untilMs
    this.#caches = caches
  }

  /** Null if it is no file, folder or link, so that no copy has it. */
  entryOf(folder: OpenFolder, name: string, path: string): TreeEntry | null {
    const stats = lstatSync(folder.at(name), { bigint: true })
    this.#left.maxFiles -= 1
    this.#left.maxBytes -= Number(stats.size)
    const isTooMuch = Math.min(this.#left.maxFiles, this.#left.maxBytes) < 0
    if (isTooMuch || performance.now() > this.#untilMs) throw new Error('there is too much')
    if (stats.isSymbolicLink()) return { ...linkAt(folder.at(name)).link, name }
    if (stats.isDirectory()) return { mode: '40000', name, id: this.#treeOf(folder, name, path) }
    if (!stats.isFile()) return null
    const id = hashIn(folder.pathOf(name), stats, `blob ${stats.size}\0`)
    if (id === null) throw new Error('it was changed')
    return { mode: fileMode(stats), name, id }
  }

  #treeOf(above: OpenFolder, name: string, path: string): string {
    using folder = above.open(name)
    const entries = folder.names().flatMap((inner) => {
      const at = `${path}/${inner}`
      // git writes its index also if it only looks.
      if (name === '.git' && inner === 'index') return []
      if (!CACHE.test(at)) return this.entryOf(folder, inner, at) ?? []
      this.#caches.push(at)
      return []
    })
    return objectId('tree', encodeTree(entries))
  }
}
