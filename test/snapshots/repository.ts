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
    for (const name of this.#names(''))
      if (`${name}` !== '.git') rmSync(this.#place(name.toString('latin1')), { recursive: true })
    for (const [path, { mode, content }] of files) {
      const place = this.#place(path)
      mkdirSync(place.subarray(0, place.lastIndexOf('/')), { recursive: true })
      if (mode === '120000') symlinkSync(content, place)
      else writeFileSync(place, content)
      if (mode === '100755') chmodSync(place, 0o755)
    }
  }

  /** The files that are in it. */
  read(folder = ''): Files {
    const found = new Map<string, File>()
    for (const name of this.#names(folder)) {
      const path = `${folder}${name.toString('latin1')}`
      const place = this.#place(path)
      const stats = lstatSync(place)
      if (path === '.git') continue
      if (stats.isDirectory())
        for (const [inside, file] of this.read(`${path}/`)) found.set(inside, file)
      else if (stats.isSymbolicLink())
        found.set(path, { mode: '120000', content: readlinkSync(place, { encoding: 'buffer' }) })
      else {
        const mode = stats.mode & 0o100 ? '100755' : '100644'
        found.set(path, { mode, content: readFileSync(place) })
      }
    }
    return found
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

  #place(path: string): Buffer {
    return Buffer.from(`${this.#dir}/${path}`, 'latin1')
  }

  #names(folder: string): Buffer[] {
    return readdirSync(this.#place(folder), { encoding: 'buffer' })
  }

  #git(args: readonly string[], input?: Buffer): Buffer {
    return execFileSync('git', args, { cwd: this.#dir, input, env: ENVIRONMENT, stdio: 'pipe' })
  }
}
