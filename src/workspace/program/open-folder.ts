import { closeSync, constants, existsSync, fsyncSync, openSync, readdirSync } from 'node:fs'
import { Refusal } from './paths.ts'
import { diskPath } from './snapshot-files.ts'

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants
const HAS_PROC = existsSync('/proc/self/fd')

const NO_NAMES: ReadonlySet<string> = new Set(['', '.', '..'])

/** The names of a path within a folder, and the last of them. Throws a Refusal if it leads out of that folder, or is the folder. */
export function namesOf(path: string): {
  readonly above: readonly string[]
  readonly last: string
} {
  const names = path.split('/')
  if (names.some((name) => NO_NAMES.has(name))) throw new Refusal('outside_project', path)
  return { above: names.slice(0, -1), last: names.at(-1) ?? '' }
}

/** A folder that is open: what is named in it is in this folder, whatever is put in its place. Names and paths are bytes (latin1). */
export class OpenFolder implements Disposable {
  readonly #descriptor: number
  readonly #path: string

  /** Follows no link at the end of the path. */
  constructor(path: string) {
    this.#descriptor = openSync(diskPath(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    this.#path = HAS_PROC ? `/proc/self/fd/${this.#descriptor}` : path
  }

  /** The path of a name in it. */
  pathOf(name: string): string {
    return `${this.#path}/${name}`
  }

  /** The same, as the file system takes it. */
  at(name: string): string | Buffer {
    return diskPath(this.pathOf(name))
  }

  /** In the order of their bytes. */
  names(): string[] {
    return readdirSync(diskPath(this.#path), 'latin1').sort()
  }

  open(name: string): OpenFolder {
    return new OpenFolder(this.pathOf(name))
  }

  /** Returns when what was done in it is on the disk. */
  sync(): void {
    fsyncSync(this.#descriptor)
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }
}

/**
 * Does something in the folder of these names below another one.
 * @param enter opens the folder of a name; null if there is none, so that nothing is done
 */
export function inFolder<T>(
  root: string,
  names: readonly string[],
  enter: (above: OpenFolder, name: string) => OpenFolder | null,
  act: (folder: OpenFolder) => T,
): T | null {
  let folder: OpenFolder | null = new OpenFolder(root)
  const opened = [folder]
  try {
    for (const name of names) {
      folder = enter(folder, name)
      if (folder === null) return null
      opened.push(folder)
    }
    return act(folder)
  } finally {
    for (const folder of opened) folder[Symbol.dispose]()
  }
}
