import { readFile } from 'node:fs/promises'
import { text as textOf } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'

/** What a person says in an option or a file ("-" is the standard input); null if it is neither. */
export async function wordsOf({
  text,
  file,
}: {
  readonly text?: string | undefined
  readonly file?: string | undefined
}): Promise<Result<string | null, string>> {
  if (text !== undefined && file !== undefined) return err('Give a text or a file, not both.')
  if (file === undefined) return ok(text ?? null)
  try {
    return ok(file === '-' ? await textOf(process.stdin) : await readFile(file, 'utf8'))
  } catch (cause) {
    return err(`The file cannot be read: ${messageOf(cause)}`)
  }
}
