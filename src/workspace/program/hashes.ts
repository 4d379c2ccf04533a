import { type BigIntStats, lstatSync, readlinkSync } from 'node:fs'
import { encodeTree, objectId, pathBytes, type TreeEntry } from '../../lib/git-objects.ts'
import type { Answers, Questions } from '../protocol.ts'
import { inFolder, namesOf, type OpenFolder } from './open-folder.ts'
import { ROOT } from './paths.ts'
import { hashIn } from './snapshot-files.ts'

type Asked = Questions['hashes']

/** It has no hash: it is too large, it took too long, or it was changed while it was read. */
class NoHash extends Error {}

/** What tools keep in folders of packages to be faster. It changes whenever they run, and may decide what they find. */
const CACHE =
  /(?:^|\/)(?:node_modules\/\.(?:cache|vite|vite-temp|vitest|vitest-cache)|\.?venv\/(?:.*\/)?__pycache__)$/

/** The hash of each path, by which a later change of anything but caches is found. No hash for what cannot be read to its end. */
export function hashes(asked: Asked): { readonly answer: Answers['hashes'] } {
  const untilMs = performance.now() + asked.withinMs
  const caches: string[] = []
  const found = asked.paths.map((path) => hashAt(path, new Hashing(asked, untilMs, caches)))
  return { answer: { hashes: found, caches } }
}

function hashAt(path: string, hashing: Hashing): string | null {
  try {
    const { above, last } = namesOf(pathBytes(path))
    const open = (folder: OpenFolder, name: string) => folder.open(name)
    return inFolder(pathBytes(ROOT), above, open, (folder) => {
      const entry = hashing.entryOf(folder, last, pathBytes(path))
      return entry && objectId('tree', encodeTree([entry]))
    })
  } catch {
    return null
  }
}

class Hashing {
  readonly #asked: Asked
  readonly #untilMs: number
  readonly #caches: string[]
  #files = 0
  #bytes = 0

  constructor(asked: Asked, untilMs: number, caches: string[]) {
    this.#asked = asked
    this.#untilMs = untilMs
    this.#caches = caches
  }

  /** Null if it is no file, folder or link, so that no copy has it. */
  entryOf(folder: OpenFolder, name: string, path: string): TreeEntry | null {
    const stats = lstatSync(folder.at(name), { bigint: true })
    this.#count(stats)
    if (stats.isSymbolicLink()) {
      const target = readlinkSync(folder.at(name), { encoding: 'buffer' })
      return { mode: '120000', name, id: objectId('blob', target) }
    }
    if (stats.isDirectory()) return { mode: '40000', name, id: this.#treeOf(folder, name, path) }
    if (!stats.isFile()) return null
    const id = hashIn(folder.pathOf(name), stats, `blob ${stats.size}\0`)
    if (id === null) throw new NoHash()
    return { mode: (stats.mode & 0o100n) === 0n ? '100644' : '100755', name, id }
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

  #count({ size }: BigIntStats): void {
    const { maxFiles, maxBytes } = this.#asked
    this.#files += 1
    this.#bytes += Number(size)
    const isTooMuch = this.#files > maxFiles || this.#bytes > maxBytes
    if (isTooMuch || performance.now() > this.#untilMs) throw new NoHash()
  }
}
