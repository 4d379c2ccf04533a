import { createReadStream } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import type { BundlePart } from '../audit/bundle/bundle-format.ts'
import { unpacked } from '../audit/bundle/tar.ts'
import { messageOf } from '../lib/message-of.ts'

/** An export in a file; each call reads it from its beginning. */
export type BundleFile = () => AsyncIterable<BundlePart>

export async function bundleFile(path: string): Promise<Result<BundleFile, string>> {
  try {
    await access(path, constants.R_OK)
    return ok(() => unpacked(createReadStream(path)))
  } catch (cause) {
    return err(`${path} cannot be read: ${messageOf(cause)}`)
  }
}
