import { DatabaseSync } from 'node:sqlite'

/**
 * Keeps others out of `file`: an empty database beside it, in a transaction that never ends. The lock
 * belongs to the open file, so the kernel lets go of it however the process dies, and nothing stale is
 * ever left. (The log itself cannot be locked whole, because the readers' connection needs it.)
 * @throws SQLite's "database is locked" while another store has it
 */
export function lock(file: string): DatabaseSync {
  const held = new DatabaseSync(`${file}-lock`)
  try {
    held.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    held.close()
    throw error
  }
  return held
}
