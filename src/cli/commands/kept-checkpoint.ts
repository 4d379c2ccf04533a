import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import { Checkpoint } from '../../api/audit.ts'
import { messageOf } from '../../lib/message-of.ts'

/** A checkpoint that somebody has kept; null where none was given. */
export async function readKept(
  file: string | undefined,
): Promise<Result<Checkpoint | null, string>> {
  if (file === undefined) return ok(null)
  try {
    return ok(Checkpoint.parse(JSON.parse(await readFile(file, 'utf8'))))
  } catch (cause) {
    const reason = messageOf(cause)
    return err(`${file} is no checkpoint, as GET /api/checkpoints/latest answers one: ${reason}`)
  }
}
