import * as z from 'zod'
import type { Answers } from '../../workspace/answers.ts'
import { failedBy } from './path-problem.ts'
import { projectPath } from './project-path.ts'
import { nothingBut, SCOPE, searchFiles, searchScope } from './search-files.ts'
import { defineTool, succeeded } from './tool.ts'

const MAX_ENTRIES = 1000

/** `name/` for a folder, `name -> target` for a link, `name (12 bytes)` for a file. */
function line({ name, kind, target, size }: Answers['list']['entries'][number]): string {
  switch (kind) {
    case 'folder':
      return `${name}/`
    case 'link':
      return `${name} -> ${target}`
    case 'file':
      return `${name} (${size} bytes)`
    case 'other':
      return `${name} (not a regular file)`
    case 'gone':
      return `${name} (gone)`
  }
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
  run: async ({ path = '.' }, { workspace, signal }) => {
    const listed = await workspace.ask('list', { path, limit: MAX_ENTRIES }, { signal })
    if (listed.isErr()) return failedBy(path, listed.error)
    const { entries, more } = listed.value
    if (entries.length === 0) return succeeded('The folder is empty.')
    const note = more ? [`[only ${MAX_ENTRIES} entries are shown; there are more]`] : []
    return succeeded([...entries.map(line).sort(), ...note].join('\n'))
  },
})

const MAX_FOUND = 1000

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
  run: async ({ pattern, ...scope }, context) => {
    const wanted = { path: '.', glob: pattern, limit: MAX_FOUND + 1 }
    const result = await searchFiles(wanted, scope, context)
    if (result.isErr()) return failedBy(pattern, result.error)
    const { printed, leftOut } = result.value
    const found = printed.split('\n').filter(Boolean)
    if (found.length === 0) return succeeded(nothingBut('No file matches.', leftOut))
    const more = found.length > MAX_FOUND ? [`[there are more than ${MAX_FOUND} files]`] : []
    return succeeded([...found.slice(0, MAX_FOUND).sort(), ...more].join('\n'))
  },
})
