import { isUtf8 } from 'node:buffer'
import { constants } from 'node:fs'
import { lstat, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { RunRequest } from '../../client/index.ts'
import { MOST_BYTES, MOST_FILES } from '../../domain/acceptance.ts'
import { messageOf } from '../../lib/message-of.ts'

/** What is run there. */
const SCRIPT = 'accept.sh'

/** The check that the agent does not see, from a folder; undefined if a person names none. */
export async function acceptanceFrom(
  folder: string | undefined,
): Promise<Result<RunRequest['accept'], string>> {
  if (folder === undefined) return ok(undefined)
  return (await filesOf(folder)).andThen((files) =>
    Object.hasOwn(files, SCRIPT)
      ? ok({ files, command: `bash ${SCRIPT}` })
      : err(`${folder} has no ${SCRIPT}, which must succeed for the goal to be reached.`),
  )
}

/** The texts of all files below a folder, by their paths from there. */
async function filesOf(folder: string): Promise<Result<Record<string, string>, string>> {
  const files: Record<string, string> = {}
  let [count, bytes] = [0, 0]
  try {
    if (!(await stat(folder)).isDirectory()) return err(`${folder} is no folder.`)
    for await (const path of pathsBelow(folder)) {
      const at = join(folder, path)
      const file = await lstat(at)
      if (!file.isFile()) return err(`${at} is a link, or no file. Only files can be sent.`)
      count += 1
      bytes += file.size
      if (count > MOST_FILES || bytes > MOST_BYTES) {
        return err(`${folder} has more than ${MOST_FILES} files, or more than 4 MiB.`)
      }
      const content = await readFile(at, { flag: constants.O_RDONLY | constants.O_NOFOLLOW })
      if (!isUtf8(content)) return err(`${at} is not text in UTF-8, so it cannot be sent.`)
      files[path] = content.toString()
    }
    return ok(files)
  } catch (cause) {
    return err(`The folder of --accept cannot be read: ${messageOf(cause)}`)
  }
}

/** All that is below a folder and is no folder. */
async function* pathsBelow(folder: string, below = ''): AsyncGenerator<string> {
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const path = `${below}${entry.name}`
    if (entry.isDirectory()) yield* pathsBelow(folder, `${path}/`)
    else yield path
  }
}
