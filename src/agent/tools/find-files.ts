import type { Dirent } from 'node:fs'
import { lstat, opendir, readlink } from 'node:fs/promises'
import { isAbsolute, sep } from 'node:path'
import { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { commandOutput } from './commands.ts'
import {
  confine,
  isAt,
  type OpenedPath,
  openFolder,
  openTree,
  pathIn,
  projectPath,
} from './confine.ts'
import { describeProblem, problemOf } from './path-problem.ts'
import { nothingBut, SCOPE, SEARCH_TIMEOUT_MS, searchFiles, searchScope } from './search-files.ts'
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
  touches: ({ path = '.' }) => ({ paths: [path] }),
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

const MAX_FOUND = 1000

/** The pattern relative to the project; null if it leads out of it. */
function withinProject(pattern: string, folders: readonly string[]): string | null {
  const folder = folders.find((candidate) => pattern.startsWith(candidate + sep))
  const inside = folder === undefined ? pattern : pattern.slice(folder.length + 1)
  if (isAbsolute(inside) || inside.split(/[/{},]/).includes('..')) return null
  const relative = inside.replace(/^(?:\.\/)+/, '')
  return inside.includes('/') ? relative : `**/${relative}`
}

export const findFiles = defineTool({
  name: 'find_files',
  description:
    'Find files of the project by a glob such as "src/**/*.ts". A pattern without a slash is looked ' +
    `for in all folders. ${SCOPE}`,
  readOnly: true,
  args: z.strictObject({
    pattern: projectPath.max(1000).describe('Glob, relative to the project'),
    ...searchScope,
  }),
  touches: () => ({}),
  run: async ({ pattern, ...scope }, project) => {
    const confined = await confine(project, '.')
    const opened = await confined.asyncAndThen((root) => new ResultAsync(openTree(root, project)))
    if (opened.isErr()) return failed(describeProblem(project.cwd, opened.error))
    const root = opened.value
    try {
      const inside = withinProject(pattern, [project.cwd, root.real])
      if (inside === null) return failed(describeProblem(pattern, { type: 'outside_project' }))
      const wanted = { glob: inside, limit: MAX_FOUND + 1 }
      const result = await searchFiles(root, scope, wanted, project)
      if (result.end !== 'exited' || result.exitCode !== 0) {
        return commandOutput(result, SEARCH_TIMEOUT_MS)
      }
      const found = result.stdout.split('\n').filter(Boolean)
      if (found.length === 0) return succeeded(nothingBut('No file matches.', result.leftOut))
      const more = found.length > MAX_FOUND ? [`[there are more than ${MAX_FOUND} files]`] : []
      return succeeded([...found.slice(0, MAX_FOUND).sort(), ...more].join('\n'))
    } finally {
      await root.file.close()
    }
  },
})
