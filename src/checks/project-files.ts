import { join } from 'node:path'
import * as z from 'zod'
import { jsonOr } from '../lib/json.ts'
import { readWhole, type Workspace } from '../workspace/workspace.ts'

const MAX_BYTES = 1024 * 1024
const MAX_NAMES = 10_000

/** The first of these paths, relative to the project, that exists. */
export async function firstOf(
  workspace: Workspace,
  paths: readonly string[],
): Promise<string | null> {
  const found = await workspace.ask('existing', { paths })
  return paths.find((_, at) => found.isOk() && found.value.existing[at]) ?? null
}

/** The same as a reason for people. */
export const thereIs = (workspace: Workspace, paths: readonly string[]): Promise<string | null> =>
  firstOf(workspace, paths).then((found) => found && `there is a ${found}`)

/** At most MAX_NAMES names in a folder of the project; none if there is no such folder. */
export async function namesIn(workspace: Workspace, path: string): Promise<readonly string[]> {
  const listed = await workspace.ask('list', { path, limit: MAX_NAMES })
  return listed.isOk() ? listed.value.entries.map(({ name }) => name) : []
}

/** A text file of the project; null if it cannot be read, or is larger than a file that people write. */
export async function textOf(workspace: Workspace, path: string): Promise<string | null> {
  const read = await readWhole(workspace, { path, maxBytes: MAX_BYTES })
  return read.isOk() ? read.value.content.toString() : null
}

const PackageJson = z.object({ scripts: z.record(z.string(), z.string()).optional() })

/** `scripts.test` of package.json; null if it is missing or is the default of `npm init`. */
export async function testScript(workspace: Workspace): Promise<string | null> {
  const script = await scriptOf(workspace, 'test')
  return script?.includes('Error: no test specified') ? null : script
}

/** A script of package.json; null if it is missing or empty. */
export async function scriptOf(workspace: Workspace, name: string): Promise<string | null> {
  const text = await textOf(workspace, 'package.json')
  if (text === null) return null
  return PackageJson.safeParse(jsonOr(text, null)).data?.scripts?.[name]?.trim() || null
}

/** Where programs of a virtual environment of Python are. */
export const VENVS = ['.venv/bin', 'venv/bin']

/** The path of a program of the project, which is in one of these folders; null if it has none. */
export async function ownProgram(
  files: Workspace,
  name: string,
  folders: readonly string[] = VENVS,
): Promise<string | null> {
  const paths = folders.map((folder) => join(folder, name))
  const own = await firstOf(files, paths)
  return own && join(files.cwd, own)
}
