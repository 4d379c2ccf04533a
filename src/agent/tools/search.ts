import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { NulFree, optional } from '../../domain/fields.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { Answers, Grep, Questions, Search } from '../../workspace/protocol.ts'
import { cutLine, FOUND_LINE_CHARS } from './recorded-output.ts'
import {
  defineTool,
  failed,
  failedBy,
  projectPath,
  succeeded,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

/** The arguments of a tool by which a search also looks at what it leaves out otherwise. */
const searchScope = {
  hidden: optional(
    z.boolean(),
    'Whether files and folders that begin with a dot are searched; not if left out',
  ),
  ignored: optional(
    z.boolean(),
    'Whether what .gitignore names, and node_modules, is searched; not if left out',
  ),
}
const SCOPE =
  'Leaves out what .gitignore names, node_modules, and names that begin with a dot, unless ' +
  '`ignored` or `hidden` is true; .git always.'

type Scope = { readonly hidden?: boolean | undefined; readonly ignored?: boolean | undefined }

/** What a program printed, with secrets masked. Half a secret at its end would not be recognized as one. */
export function printedText(body: Buffer, isCut: boolean): string {
  return isCut
    ? `${withoutHalf(body.toString())}\n[the rest is left out]`
    : processMask.text(body.toString())
}

function withoutHalf(text: string): string {
  const pieces = processMask.pieces()
  return pieces.write(text) + pieces.cut()
}

/** Lists the files of the project that match a glob, or searches them. `printed`: with secrets masked. */
export async function searchFiles(
  wanted: Pick<Search, 'path' | 'glob' | 'limit' | 'grep'>,
  { hidden = false, ignored = false }: Scope,
  { workspace, signal }: Pick<ToolContext, 'workspace' | 'signal'>,
) {
  const answered = await workspace.ask('search', { ...wanted, hidden, ignored }, { signal })
  return answered.map((found) => ({ ...found, printed: printedText(found.body, found.isCut) }))
}

/** To be added to an answer that nothing was found. */
const leftOut = ({ hidden = false, ignored = false }: Scope): string =>
  hidden && ignored ? '' : ` [${SCOPE}]`

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
    const found = result.value.printed.split('\n').filter(Boolean)
    if (found.length === 0) return succeeded(`No file matches.${leftOut(scope)}`)
    const more = found.length > MAX_FOUND ? [`[there are more than ${MAX_FOUND} files]`] : []
    return succeeded([...found.slice(0, MAX_FOUND).sort(), ...more].join('\n'))
  },
})

const MAX_CONTEXT = 20
/** Exit codes of grep: lines were found, or none were. Any other is a failure. */
const FOUND = 0
const NOTHING = 1

/** What grep prints if it runs out of memory. */
const OUT_OF_MEMORY = /memory exhausted|program error/i
const TOO_MUCH_MEMORY =
  'The search needs more memory than it may have. Write a simpler pattern, such as one with ' +
  'small numbers in braces, or search a smaller part of the project.'
/** Marks the end of a line that was cut. After it comes how many characters are left out. */
const CUT = '\x1f'
const CUT_LINE = new RegExp(`^(.*)${CUT}(\\d+)$`, 's')

function shortenLine(line: string): string {
  const [, kept, missing] = CUT_LINE.exec(line) ?? []
  if (kept === undefined) return cutLine(line, FOUND_LINE_CHARS)
  // It may be cut within a secret.
  return cutLine(withoutHalf(kept), FOUND_LINE_CHARS, Number(missing))
}

/** The lines of a text that match an extended regular expression, ignoring case, as `number:line`. */
export async function grepText(
  body: Buffer,
  pattern: string,
  { workspace, signal }: Pick<ToolContext, 'workspace' | 'signal'>,
): Promise<Result<readonly string[], ToolOutput>> {
  const found = await workspace.ask('grep', { pattern, ignoreCase: true }, { body, signal })
  if (found.isErr()) return err(failedBy('', found.error))
  const { exitCode, stderr, isCut } = found.value
  if (exitCode === NOTHING) return ok([])
  const lines = printedText(found.value.body, isCut).replace(/\n$/, '').split('\n')
  if (exitCode === FOUND || isCut) return ok(lines.map(shortenLine))
  if (OUT_OF_MEMORY.test(stderr)) return err(failed(TOO_MUCH_MEMORY))
  return err({ output: processMask.text(stderr), exitCode, outcome: 'error' })
}

function searchOutput(
  found: Answers['search'] & { readonly printed: string },
  output: Grep['output'],
  scope: Scope,
): ToolOutput {
  const { exitCode, shown, isTree, isCut } = found
  const nothing = `Nothing matches.${isTree ? leftOut(scope) : ''}`
  const isBelow = isTree && shown !== '.'
  const paths = isBelow ? found.printed.replace(/^\.\//gm, () => `${shown}/`) : found.printed
  // grep counts in all files that it searches.
  const printed = output === 'counts' ? paths.replace(/^.*:0\n/gm, '') : paths
  const lines = printed.split('\n').map(shortenLine).join('\n')
  const unopened =
    found.unopened > 0 ? `[${found.unopened} files or folders could not be opened]\n` : ''
  const stderr = processMask.text(found.stderr) + unopened
  if (exitCode === FOUND || exitCode === NOTHING || isCut || printed !== '') {
    return succeeded(`${lines === '' ? nothing : lines}${stderr}`)
  }
  if (OUT_OF_MEMORY.test(stderr)) return failed(TOO_MUCH_MEMORY)
  return { output: stderr, exitCode, outcome: 'error' }
}

const FileName = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => !/[/\0]/.test(text), 'must be the name of a file, without its folder')

export const grepSearch = defineTool({
  name: 'grep_search',
  description:
    'Search the text files of the project for lines that match an extended regular expression ' +
    '(grep -E), as path:line:text, or for the files with such lines, or how many each has. ' +
    SCOPE,
  readOnly: true,
  args: z.strictObject({
    pattern: NulFree.min(1)
      .max(10_000)
      .describe('Extended regular expression, matched within each line'),
    path: optional(projectPath, 'A folder or file to search; the project if left out'),
    name: optional(FileName, 'Only files with such a name, as a glob like "*.ts"'),
    ignore_case: optional(z.boolean(), 'Whether case is ignored; it matters if left out'),
    context: optional(
      z.int().min(0).max(MAX_CONTEXT),
      'Lines to show before and after each match, as path-line-text',
    ),
    output: optional(z.enum(['lines', 'files', 'counts']), '"lines" if left out'),
    ...searchScope,
  }),
  touches: ({ path = '.' }) => ({ trees: [path] }),
  run: async ({ pattern, path = '.', ...options }, context) => {
    const { output = 'lines', context: around = 0, name = '*', ignore_case = false } = options
    const grep = { pattern, output, context: around, ignoreCase: ignore_case }
    const wanted = { path, glob: `**/${name}`, limit: Number.MAX_SAFE_INTEGER, grep }
    const found = await searchFiles(wanted, options, context)
    return found.match(
      (found) => searchOutput(found, output, options),
      (failure) => failedBy(path, failure),
    )
  },
})

const gitTool = (
  show: Questions['git']['show'],
  description: string,
  { trees = [], nothing = '' }: { trees?: string[]; nothing?: string } = {},
) =>
  defineTool({
    name: `git_${show}`,
    description,
    readOnly: true,
    args: z.strictObject({}),
    touches: () => ({ trees }),
    run: async (_, { workspace, signal }) => {
      const answered = await workspace.ask('git', { show }, { signal })
      if (answered.isErr()) return failedBy('.git', answered.error)
      const { exitCode, isCut, body } = answered.value
      const output = printedText(body, isCut)
      if (exitCode !== 0 && !isCut) return { output, exitCode, outcome: 'error' }
      return succeeded(output === '' ? nothing : output)
    },
  })

export const gitStatus = gitTool(
  'status',
  'The branch, and the changed and untracked files of the project, as git knows them.',
)

export const gitDiff = gitTool(
  'diff',
  'All changes to tracked files of the project since the last commit, staged or not, as a diff.',
  { trees: ['.'], nothing: 'No changes to tracked files.' },
)

export const gitLog = gitTool(
  'log',
  'The last 20 commits, newest first: id, date, author, subject and files changed.',
)
