import { isUtf8 } from 'node:buffer'
import { constants } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { RunRequest } from '../../client/index.ts'
import { MOST_FILES } from '../../domain/acceptance.ts'
import { messageOf } from '../../lib/message-of.ts'

/** What is run there. */
const SCRIPT = 'accept.sh'

/** The check that the agent does not see, from a folder; undefined if a person names none. The server limits its bytes. */
export async function acceptanceFrom(
  folder: string | undefined,
): Promise<Result<RunRequest['accept'], string>> {
  if (folder === undefined) return ok(undefined)
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const below = entries.filter((entry) => !entry.isDirectory())
    if (below.length > MOST_FILES) return err(`${folder} has more than ${MOST_FILES} files.`)
    const files: Record<string, string> = {}
    for (const entry of below) {
      const at = join(entry.parentPath, entry.name)
      if (!entry.isFile()) return err(`${at} is a link, or no file. Only files can be sent.`)
      const content = await readFile(at, { flag: constants.O_RDONLY | constants.O_NOFOLLOW })
      if (!isUtf8(content)) return err(`${at} is not text in UTF-8, so it cannot be sent.`)
      files[relative(folder, at)] = content.toString()
    }
    if (Object.hasOwn(files, SCRIPT)) return ok({ files, command: `bash ${SCRIPT}` })
    return err(`${folder} has no ${SCRIPT}, which must succeed for the goal to be reached.`)
  } catch (cause) {
    return err(`The folder of --accept cannot be read: ${messageOf(cause)}`)
  }
}
