import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { File, Files } from './support.ts'

/** Neither the settings of the machine nor those of its user count. */
const ENVIRONMENT = {
  PATH: process.env.PATH,
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
}

const placeIn = (dir: string, path: string): Buffer => Buffer.from(`${dir}/${path}`, 'latin1')
const namesIn = (place: Buffer): string[] => readdirSync(place, 'latin1')

/** Puts files in a folder. */
export function putFiles(dir: string, files: Files): void {
  for (const [path, { mode, content }] of files) {
    const place = placeIn(dir, path)
    mkdirSync(place.subarray(0, place.lastIndexOf('/')), { recursive: true })
    if (mode === '120000') symlinkSync(content, place)
    else writeFileSync(place, content)
    if (mode === '100755') chmodSync(place, 0o755)
  }
}

/** All that is in a folder, but the folders themselves. @param within '', or a path that ends with a slash */
export function filesIn(dir: string, within = ''): Map<string, File> {
  const found = new Map<string, File>()
  for (const name of namesIn(placeIn(dir, within))) {
    const path = `${within}${name}`
    const place = placeIn(dir, path)
    const stats = lstatSync(place)
    if (stats.isDirectory()) for (const file of filesIn(dir, `${path}/`)) found.set(...file)
    else if (stats.isSymbolicLink())
      found.set(path, { mode: '120000', content: readlinkSync(place, { encoding: 'buffer' }) })
    else {
      const mode = stats.mode & 0o100 ? '100755' : '100644'
      found.set(path, { mode, content: readFileSync(place) })
    }
  }
  return found
}

/** A folder in which `git init` was called. */
export class Repository {
  readonly #dir = mkdtempSync(join(tmpdir(), 'retrai-repository-'))

  constructor() {
    this.#git(['init', '-q', '--object-format=sha1', '--template='])
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true })
  }

  /** Puts these files in it, in place of those that are there. */
  write(files: Files): void {
    for (const name of namesIn(placeIn(this.#dir, '')))
      if (name !== '.git') rmSync(placeIn(this.#dir, name), { recursive: true })
    putFiles(this.#dir, files)
  }

  /** The files that are in it. */
  read(): Files {
    return new Map([...filesIn(this.#dir)].filter(([path]) => !path.startsWith('.git/')))
  }

  apply(patch: Buffer, ...options: readonly string[]): void {
    if (patch.length > 0) this.#git(['apply', '--binary', '--whitespace=nowarn', ...options], patch)
  }

  /** What git itself writes between two projects. */
  diff(from: Files, to: Files): string {
    const trees = [from, to].map((files) => {
      this.write(files)
      this.#git(['add', '--all'])
      return `${this.#git(['write-tree'])}`.trim()
    })
    const options = ['--full-index', '--binary', '--find-renames=100%']
    return this.#git(['diff', ...options, ...trees]).toString('latin1')
  }

  #git(args: readonly string[], input?: Buffer): Buffer {
    return execFileSync('git', args, { cwd: this.#dir, input, env: ENVIRONMENT, stdio: 'pipe' })
  }
}
