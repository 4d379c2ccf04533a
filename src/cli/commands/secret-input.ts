import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'

/**
 * A secret from a file, or from stdin for `-`, without the line feed at its end. It is no option of its own,
 * since arguments of commands stand in histories and in lists of processes.
 */
export async function readSecret(
  file: string | undefined,
): Promise<Result<string | undefined, string>> {
  if (file === undefined) return ok(undefined)
  try {
    const read = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8'))
    const secret = read.replace(/\r?\n$/, '')
    if (secret.length >= 4) return ok(secret)
    return err('The secret is too short to be looked for: it needs at least 4 characters.')
  } catch (cause) {
    const message = messageOf(cause)
    return err(`${file} cannot be read: ${message}`)
  }
}
