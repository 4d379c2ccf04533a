import type { Dirent } from 'node:fs'
import { lstat, opendir, readlink, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type ConfinedPath, confine, projectPath } from './confine.ts'
import { defineTool, failed, succeeded } from './define-tool.ts'
import { describeProblem, problemOf } from './path-problem.ts'

const MAX_ENTRIES = 1000

/** `name/` for a folder, `name -> target` for a link, `name (12 bytes)` for a file. */
async function line(folder: string, entry: Dirent): Promise<string> {
  const path = join(folder, entry.name)
  try {
    if (entry.isDirectory()) return `${entry.name}/`
    if (entry.isSymbolicLink()) return `${entry.name} -> ${await readlink(path)}`
    if (entry.isFile()) return `${entry.name} (${(await lstat(path)).size} bytes)`
    return `${entry.name} (not a regular file)`
  } catch {
    return `${entry.name} (gone meanwhile)`
  }
}

type Listing = { readonly entries: readonly Dirent[]; readonly more: boolean }

/** Null where the folder was exchanged meanwhile. */
async function entriesOf({ real }: ConfinedPath): Promise<Listing | null> {
  const entries: Dirent[] = []
  for await (const entry of await opendir(real)) {
    entries.push(entry)
    if (entries.length > MAX_ENTRIES) break
  }
  if ((await realpath(real)) !== real) return null
  return { entries: entries.slice(0, MAX_ENTRIES), more: entries.length > MAX_ENTRIES }
}

export const fileList = defineTool({
  name: 'file_list',
  description: 'List the files and folders in one folder of the project.',
  readOnly: true,
  args: z.strictObject({
    path: projectPath
      .optional()
      .describe('Relative to the project; the project itself if left out'),
  }),
  run: async ({ path = '.' }, { cwd }) => {
    const confined = await confine(cwd, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    try {
      const listing = await entriesOf(confined.value)
      if (listing === null) return failed(describeProblem(path, { type: 'changed_meanwhile' }))
      const { entries, more } = listing
      const lines = await Promise.all(entries.map((entry) => line(confined.value.real, entry)))
      if (lines.length === 0) return succeeded('The folder is empty.')
      const note = more ? [`[only ${MAX_ENTRIES} entries are shown; there are more]`] : []
      return succeeded([...lines.sort(), ...note].join('\n'))
    } catch (cause) {
      return failed(describeProblem(path, problemOf(cause)))
    }
  },
})
