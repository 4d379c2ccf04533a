import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { codeOf } from './message-of.ts'

const NOT_REGULAR = 'is not a regular file'

/**
 * The content of a regular file in a folder of this server, where a command may have put something else at its name. Rejects if
 * it is not a regular file, such as a link or a pipe, or has more than `maxBytes`: the message is a part of a sentence.
 */
export async function readRegular(path: string, maxBytes: number): Promise<Buffer> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((cause) => {
    throw codeOf(cause) === 'ELOOP' ? new Error(NOT_REGULAR) : cause
  })
  if (!(await file.stat()).isFile()) throw new Error(NOT_REGULAR)
  const content = Buffer.allocUnsafe(maxBytes + 1)
  let bytes = 0
  for (let read = -1; read !== 0 && bytes <= maxBytes; bytes += read) {
    read = (await file.read(content, bytes, content.length - bytes, null)).bytesRead
  }
  if (bytes > maxBytes) throw new Error(`has more than ${maxBytes} bytes`)
  return content.subarray(0, bytes)
}
