import { opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { jsonOr } from '../../lib/json-or.ts'
import { confine, openFolder, pathIn, readConfined } from '../tools/confine.ts'

const MAX_BYTES = 1024 * 1024
const MAX_NAMES = 10_000

/** The first of these paths, relative to the project, that exists. */
export async function firstOf(cwd: string, paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    const found = await stat(join(cwd, path)).catch(() => null)
    if (found !== null) return path
  }
  return null
}

/** At most MAX_NAMES names in a folder of the project; none if there is no such folder. */
export async function namesIn(cwd: string, path: string): Promise<readonly string[]> {
  const confined = await confine({ cwd, dataDir: null }, path)
  const folder = await confined.asyncAndThen((found) => new ResultAsync(openFolder(found)))
  if (folder.isErr()) return []
  const names: string[] = []
  try {
    for await (const { name } of await opendir(pathIn(folder.value))) {
      names.push(name)
      if (names.length >= MAX_NAMES) break
    }
    return names
  } catch {
    return []
  } finally {
    await folder.value.file.close()
  }
}

/** A text file of the project; null if it cannot be read, or is larger than a file that people write. */
export async function textOf(cwd: string, path: string): Promise<string | null> {
  const content = await readConfined({ cwd, dataDir: null }, path, MAX_BYTES)
  return content.isOk() ? content.value.toString() : null
}

const PackageJson = z.object({ scripts: z.record(z.string(), z.string()).optional() })

/** `scripts.test` of package.json; null if it is missing or is the default of `npm init`. */
export async function testScript(cwd: string): Promise<string | null> {
  const script = await scriptOf(cwd, 'test')
  return script?.includes('Error: no test specified') ? null : script
}

/** A script of package.json; null if it is missing or empty. */
export async function scriptOf(cwd: string, name: string): Promise<string | null> {
  const text = await textOf(cwd, 'package.json')
  if (text === null) return null
  return PackageJson.safeParse(jsonOr(text, null)).data?.scripts?.[name]?.trim() || null
}
