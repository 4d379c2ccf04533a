import type { Dirent } from 'node:fs'
import { lstat, opendir, readlink } from 'node:fs/promises'
import * as z from 'zod'
import { confine, isAt, type OpenedPath, openFolder, pathIn, projectPath } from './confine.ts'
import { describeProblem, problemOf } from './path-problem.ts'
import { defineTool, failed, succeeded } from './tool.ts'

const MAX_ENTRIES = 1000

/** `name/` for a folder, `name -> target` for a link, `name (12 bytes)` for a file. */
async function line(folder: OpenedPath, entry: Dirent): Promise<string> {
  const path = pathIn(folder, entry.name)
  try {
    if (entry.isDirectory()) return `${entry.name}/`
    if (entry.isSymbolicLink()) return `${entry.name} -> ${await readlink(path)}`
    if (entry.isFile()) return `${entry.name} (${(await lstat(path)).size} bytes)`
    return `${entry.name} (not a regular file)`
  } catch {
    return `${entry.name} (gone)`
  }
}

type Listing = { readonly entries: readonly Dirent[]; readonly more: boolean }

async function entriesOf(folder: OpenedPath): Promise<Listing> {
  const entries: Dirent[] = []
  for await (const entry of await opendir(pathIn(folder))) {
    entries.push(entry)
    if (entries.length > MAX_ENTRIES) break
  }
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
  run: async ({ path = '.' }, project) => {
    const confined = await confine(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const opened = await openFolder(confined.value)
    if (opened.isErr()) return failed(describeProblem(path, opened.error))
    const folder = opened.value
    try {
      const { entries, more } = await entriesOf(folder)
      const lines = await Promise.all(entries.map((entry) => line(folder, entry)))
      if (!(await isAt(folder.file, folder.real))) {
        return failed(describeProblem(path, { type: 'changed_meanwhile' }))
      }
      if (lines.length === 0) return succeeded('The folder is empty.')
      const note = more ? [`[only ${MAX_ENTRIES} entries are shown; there are more]`] : []
      return succeeded([...lines.sort(), ...note].join('\n'))
    } catch (cause) {
      return failed(describeProblem(path, problemOf(cause)))
    } finally {
      await folder.file.close()
    }
  },
})
