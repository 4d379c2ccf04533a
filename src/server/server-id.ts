import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { messageOf } from '../lib/message-of.ts'

/**
 * The identity of the server that has this data folder: made at its first start, and kept through all
 * restarts. The error is a text for people.
 */
export function ensureServerId(file: string): ResultAsync<string, string> {
  return ResultAsync.fromPromise(readOrCreate(file), (cause) => {
    const message = messageOf(cause)
    return `${file} cannot be used (${message}): give the server write access to it, or delete it.`
  })
}

async function readOrCreate(file: string): Promise<string> {
  const known = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return null
    throw cause
  })
  // A crash may have left it empty.
  if (known !== null && known.trim() !== '') {
    const id = z.uuid().safeParse(known.trim())
    if (!id.success) throw new Error('it holds no server id')
    return id.data
  }
  const id = randomUUID()
  await writeFile(file, `${id}\n`)
  return id
}
