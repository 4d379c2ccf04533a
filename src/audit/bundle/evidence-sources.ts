import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'

/** `web/dist/evidence.json`: the sources that the code of pages of evidence was built from, and the hash of them all. */
export const EvidenceSources = z.object({ paths: z.array(z.string()), sha256: z.string() })

/** The hash of sources as they are in a folder; null if it has none of them, as the package has not. */
export async function hashOfSources(
  folder: string,
  paths: readonly string[],
): Promise<string | null> {
  const read = (path: string) => readFile(join(folder, path), 'base64').catch(() => null)
  const contents = await Promise.all(paths.map(read))
  if (contents.every((content) => content === null)) return null
  return createHash('sha256')
    .update(JSON.stringify([paths, contents]))
    .digest('hex')
}
