import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

/** The first of the paths, relative to the project, at which there is something. */
export async function firstOf(cwd: string, paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    const found = await stat(join(cwd, path)).catch(() => null)
    if (found !== null) return path
  }
  return null
}

/** Names in a folder of the project; none where there is no such folder. */
export async function namesIn(cwd: string, folder: string): Promise<readonly string[]> {
  return readdir(join(cwd, folder)).catch(() => [])
}

/** A text file of the project; null where it cannot be read. */
export async function textOf(cwd: string, path: string): Promise<string | null> {
  return readFile(join(cwd, path), 'utf8').catch(() => null)
}

const PackageJson = z.object({ scripts: z.object({ test: z.string().optional() }).optional() })

/** `scripts.test` of package.json; null where it has none, or holds what `npm init` puts there. */
export async function testScript(cwd: string): Promise<string | null> {
  const text = await textOf(cwd, 'package.json')
  if (text === null) return null
  try {
    const script = PackageJson.parse(JSON.parse(text)).scripts?.test?.trim() ?? ''
    return script === '' || script.includes('Error: no test specified') ? null : script
  } catch {
    return null
  }
}
