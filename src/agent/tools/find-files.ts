import { dirname, isAbsolute, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { packageFolder, siblingModule } from '../../lib/package-files.ts'
import { commandOutput } from './commands.ts'
import { confine, openTree, pathForCommands, projectPath } from './confine.ts'
import { describeProblem } from './path-problem.ts'
import { defineTool, failed, succeeded } from './tool.ts'

const TIMEOUT_MS = 30_000
/** More than the heap limit below, because Node also has buffers and code. */
const MAX_MEMORY_BYTES = 768 * 1024 * 1024
const MAX_FOUND = 1000
const PROGRAM = fileURLToPath(siblingModule('glob-child', import.meta.url))

/** The pattern relative to the project; null if it leads out of it. */
function withinProject(pattern: string, folders: readonly string[]): string | null {
  const folder = folders.find((candidate) => pattern.startsWith(candidate + sep))
  const inside = folder === undefined ? pattern : pattern.slice(folder.length + 1)
  if (isAbsolute(inside) || inside.split(/[/{},]/).includes('..')) return null
  return inside.includes('/') ? inside : `**/${inside}`
}

export const findFiles = defineTool({
  name: 'find_files',
  description:
    'Find files of the project by a glob such as "src/**/*.ts". A pattern without a slash is looked ' +
    'for in all folders. Leaves out .git and node_modules.',
  readOnly: true,
  args: z.strictObject({
    pattern: projectPath.max(1000).describe('Glob, relative to the project'),
  }),
  run: async ({ pattern }, { signal, runCommand, ...project }) => {
    const confined = await confine(project, '.')
    const opened = await confined.asyncAndThen((root) => new ResultAsync(openTree(root, project)))
    if (opened.isErr()) return failed(describeProblem(project.cwd, opened.error))
    const root = opened.value
    try {
      const inside = withinProject(pattern, [project.cwd, root.real])
      if (inside === null) return failed(describeProblem(pattern, { type: 'outside_project' }))
      const result = await runCommand({
        file: process.execPath,
        args: ['--max-old-space-size=512', PROGRAM, inside, String(MAX_FOUND + 1)],
        cwd: pathForCommands(root, project.isolated),
        readable: [dirname(PROGRAM), join(packageFolder(), 'package.json')],
        timeoutMs: TIMEOUT_MS,
        maxMemoryBytes: MAX_MEMORY_BYTES,
        signal,
      })
      if (result.end !== 'exited' || result.exitCode !== 0) return commandOutput(result, TIMEOUT_MS)
      const found = result.stdout.split('\n').filter(Boolean)
      if (found.length === 0) return succeeded('No file matches.')
      const more = found.length > MAX_FOUND ? [`[there are more than ${MAX_FOUND} files]`] : []
      return succeeded([...found.slice(0, MAX_FOUND).sort(), ...more].join('\n'))
    } finally {
      await root.file.close()
    }
  },
})
