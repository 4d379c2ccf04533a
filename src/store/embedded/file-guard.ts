import { closeSync, existsSync, fstatSync, openSync } from 'node:fs'

/** A file of the log was removed, replaced or cut off while it is open: what SQLite writes now would be lost. */
export class FilesLost extends Error {
  override readonly name = 'FilesLost'
}

/** Files that were there just now are not asked again: what is written right before their loss is lost in any case. */
const FRESH_MS = 5

/**
 * Notices that the files of a log were removed, replaced or cut off while they are open: SQLite writes on, and reports
 * success. Asking an open file costs a fifth of asking for a path.
 */
export class FileGuard {
  readonly #file: string
  #log: number | null = null
  #wal: number | null = null
  #size = 0
  #checkedAt = Number.NEGATIVE_INFINITY

  /** @param file the log, which SQLite has open */
  constructor(file: string) {
    this.#file = file
    this.#log = openIfThere(file)
  }

  /** @throws FilesLost */
  check(): void {
    const now = performance.now()
    if (this.#log === null || now - this.#checkedAt < FRESH_MS) return
    const { nlink, size } = fstatSync(this.#log)
    if (nlink === 0) throw this.#lost('was removed or replaced')
    // A checkpoint makes it longer; nothing of ours makes it shorter.
    if (size < this.#size) throw this.#lost('was cut off')
    this.#size = size
    this.#wal ??= openIfThere(`${this.#file}-wal`)
    if (this.#wal !== null && fstatSync(this.#wal).nlink === 0) {
      throw this.#lost('has lost its write-ahead log (-wal)')
    }
    this.#checkedAt = now
  }

  /** Call it after SQLite has closed the file: to close any handle of a file drops the locks of the process on it. */
  close(): void {
    for (const handle of [this.#log, this.#wal]) if (handle !== null) closeSync(handle)
    this.#log = null
    this.#wal = null
  }

  #lost(what: string): FilesLost {
    return new FilesLost(
      `the event store ${this.#file} ${what} while it is in use: stop this server, ` +
        'restore the file from a backup, then start it again',
    )
  }
}

const openIfThere = (file: string): number | null => (existsSync(file) ? openSync(file, 'r') : null)
