import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { present } from '../../domain/present.ts'
import { packageFolder, siblingModule } from '../../lib/package-files.ts'
import type { CommandResult } from '../../runner/command.ts'
import { type OpenedPath, pathForCommands, readConfined } from './confine.ts'
import type { RuleTexts } from './ignore-rules.ts'
import type { ToolContext } from './tool.ts'

/** What the program that searches is asked for. */
export type SearchRequest = {
  readonly glob: string
  /** Files to print at most. */
  readonly limit: number
  readonly hidden: boolean
  readonly ignored: boolean
  /** A larger file of rules is not obeyed, because its rules are matched with every path. */
  readonly maxRulesBytes: number
  /** The rules of the folders above the one that is searched, the outermost first. */
  readonly above: readonly RulesAbove[]
  /** A program and its arguments, which is started with the paths of open files after them. Its lines begin with these. */
  readonly command?: readonly string[]
}

type RulesAbove = RuleTexts & {
  /** From the folder with these rules to the one that is searched, with `/` at its end. */
  readonly path: string
}

export const SEARCH_TIMEOUT_MS = 30_000
/** More than the heap limit below, because Node also has buffers and code. */
const MAX_MEMORY_BYTES = 768 * 1024 * 1024
const MAX_RULES_BYTES = 64 * 1024
/** The most bytes of the rules of all folders above, which are an argument of the program. Linux allows 128 KiB. */
const MAX_ABOVE_BYTES = 32 * 1024
/** Nobody writes these into rules, and as JSON they would be long. */
const CONTROL = /[^\P{Cc}\n]/gu
const PROGRAM = fileURLToPath(siblingModule('search-child', import.meta.url))

/** In a checkout, the program that searches imports this; a built one has it in it. */
const programFiles = (): string[] => {
  const packages = join(packageFolder(), 'node_modules/ignore')
  const files = [dirname(PROGRAM), join(packageFolder(), 'package.json')]
  return existsSync(packages) ? [...files, packages] : files
}

/** The arguments of a tool by which a search also looks at what it leaves out otherwise. */
export const searchScope = {
  hidden: z
    .boolean()
    .optional()
    .describe('Whether files and folders that begin with a dot are searched; not if left out'),
  ignored: z
    .boolean()
    .optional()
    .describe(
      'Whether what .gitignore and .ignore name, and node_modules, is searched; not if left out',
    ),
}
export const SCOPE =
  'Leaves out what .gitignore, .git/info/exclude and .ignore name, node_modules, and names that begin with a dot, unless ' +
  '`ignored` or `hidden` is true; .git always.'

type Scope = { readonly hidden?: boolean | undefined; readonly ignored?: boolean | undefined }

const searchSummary = z.object({
  ignored: z.int(),
  hidden: z.int(),
  /** Files of rules that were not obeyed. */
  tooLarge: z.int(),
  /** Files and folders that could not be opened. */
  unopened: z.int(),
})
export type SearchSummary = z.infer<typeof searchSummary>

type SearchResult = CommandResult & {
  /** What the search has left out, as a sentence; null if it left out nothing, or did not end. */
  readonly leftOut: string | null
}

/**
 * Lists the files below an open folder, or runs a command on them, in a process of its own.
 * @param root an open folder of the project
 */
export async function searchFiles(
  root: OpenedPath,
  { hidden = false, ignored = false }: Scope,
  wanted: Pick<SearchRequest, 'glob' | 'limit' | 'command'> & { readonly maxBytes?: number },
  context: ToolContext,
): Promise<SearchResult> {
  const { maxBytes, ...rest } = wanted
  const above = ignored ? [] : await rulesAbove(root.real, context.dataDir)
  const request = { ...rest, hidden, ignored, above, maxRulesBytes: MAX_RULES_BYTES }
  const result = await context.runCommand({
    file: process.execPath,
    args: ['--max-old-space-size=512', PROGRAM, JSON.stringify(request satisfies SearchRequest)],
    cwd: pathForCommands(root, context.isolated),
    readable: programFiles(),
    timeoutMs: SEARCH_TIMEOUT_MS,
    maxMemoryBytes: MAX_MEMORY_BYTES,
    env: { LANGUAGE: 'en' },
    signal: context.signal,
    ...present({ maxBytes }),
  })
  const [, before = '', last] = /^(.*\n)?(\{"ignored":.*\})\n$/s.exec(result.stderr) ?? []
  if (last === undefined) return { ...result, leftOut: null }
  const summary = searchSummary.parse(JSON.parse(last))
  const note =
    summary.unopened > 0 ? `[${summary.unopened} files or folders could not be opened]\n` : ''
  return { ...result, stderr: before + note, leftOut: describeLeftOut(summary) }
}

function describeLeftOut({ ignored, hidden, tooLarge, unopened }: SearchSummary): string | null {
  const parts = [
    ...(ignored > 0 ? [`${ignored} ignored (\`ignored: true\` searches them)`] : []),
    ...(hidden > 0 ? [`${hidden} hidden (\`hidden: true\` searches them)`] : []),
    ...(unopened > 0 ? [`${unopened} that could not be opened`] : []),
  ]
  const sentences = [
    ...(parts.length > 0 ? [`Files and folders left out: ${parts.join(', ')}.`] : []),
    ...(tooLarge > 0
      ? [`Files of rules that are too large and were not obeyed: ${tooLarge}.`]
      : []),
  ]
  return sentences.length === 0 ? null : sentences.join(' ')
}

/** What a search answers that has found nothing. */
export const nothingBut = (nothing: string, leftOut: string | null): string =>
  leftOut === null ? nothing : `${nothing} [${leftOut}]`

/** The rules that hold in a folder by the folders above it, up to the root of its repository. */
async function rulesAbove(folder: string, dataDir: string | null): Promise<RulesAbove[]> {
  const folders = foldersBetween(await repositoryRoot(folder), folder).slice(0, -1)
  let bytes = 0
  const read = async (above: string, name: string) => {
    const content = await readConfined({ cwd: above, dataDir }, name, MAX_ABOVE_BYTES - bytes)
    if (content.isErr()) return undefined
    bytes += content.value.length
    return content.value.toString().replace(CONTROL, '')
  }
  const rules: RulesAbove[] = []
  // The innermost first: if not all can be obeyed, these can.
  for (const above of folders.reverse()) {
    const isRepository = await exists(join(above, '.git'))
    rules.unshift({
      ignore: await read(above, '.ignore'),
      gitignore: await read(above, '.gitignore'),
      exclude: isRepository ? await read(above, '.git/info/exclude') : undefined,
      isRepository,
      path: `${relative(above, folder)}/`,
    })
  }
  return rules
}

/** The nearest folder with a repository, from the project upwards; the project itself if no folder has one. */
export async function repositoryRoot(project: string): Promise<string> {
  for (let folder = project; ; folder = dirname(folder)) {
    if (await exists(join(folder, '.git'))) return folder
    if (dirname(folder) === folder) return project
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** From `root` down to `folder`, which is inside it, both included. */
export function foldersBetween(root: string, folder: string): string[] {
  const folders = [folder]
  for (let inner = folder; inner !== root; ) {
    inner = dirname(inner)
    folders.unshift(inner)
  }
  return folders
}
