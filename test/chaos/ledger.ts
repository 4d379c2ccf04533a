import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const FILE = 'ledger'

/** A shell command that writes an entry when it runs. @param entry unique to the call */
export const leaves = (entry: string, then = ''): string =>
  `echo ${entry} >> ${FILE}${then === '' ? '' : `; ${then}`}`

/** The entry that a command writes; null for other commands. */
export const entryIn = (command: unknown): string | null =>
  /^echo (\S+) >> ledger(?:;|$)/.exec(String(command))?.[1] ?? null

/** The entries in a project, in the order in which they were written. */
export async function readLedger(project: string): Promise<string[]> {
  const text = await readFile(join(project, FILE), 'utf8').catch(() => '')
  return text.split('\n').filter((line) => line !== '')
}
