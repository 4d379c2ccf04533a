import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { NulFree } from '../../domain/fields.ts'
import { processMask } from '../../log/masking.ts'
import { GREP_MEMORY_MIB, type Grep, type Pattern } from '../../workspace/questions.ts'
import { failedBy } from './path-problem.ts'
import { projectPath } from './project-path.ts'
import { cutLine, FOUND_LINE_CHARS } from './recorded-output.ts'
import { nothingBut, printedText, SCOPE, searchFiles, searchScope } from './search-files.ts'
import { defineTool, failed, succeeded, type ToolContext, type ToolOutput } from './tool.ts'

const MAX_CONTEXT = 20
/** Exit codes of grep: lines were found, or none were. Any other is a failure. */
const FOUND = 0
const NOTHING = 1

/** What grep prints if it runs out of memory. */
const OUT_OF_MEMORY = /memory exhausted|program error/i
const TOO_MUCH_MEMORY =
  `The search needs more than ${GREP_MEMORY_MIB} MiB of memory. Write a simpler pattern, such as one with ` +
  'small numbers in braces, or search a smaller part of the project.'
/** Marks the end of a line that was cut. After it comes how many characters are left out. */
const CUT = '\x1f'
const CUT_LINE = new RegExp(`^(.*)${CUT}(\\d+)$`, 's')

function shortenLine(line: string): string {
  const [, kept, missing] = CUT_LINE.exec(line) ?? []
  if (kept === undefined) return cutLine(line, FOUND_LINE_CHARS)
  return cutLine(withoutHalf(kept), FOUND_LINE_CHARS, Number(missing))
}

/** A line may be cut within a secret, and half a secret is not recognized as one. */
function withoutHalf(line: string): string {
  const pieces = processMask.pieces()
  return pieces.write(line) + pieces.cut()
}

/** The lines of a text that match an extended regular expression or contain a text, ignoring case, as `number:line`. */
export async function grepText(
  text: AsyncIterable<Uint8Array>,
  pattern: Pick<Pattern, 'pattern' | 'isText'>,
  { workspace, signal }: Pick<ToolContext, 'workspace' | 'signal'>,
): Promise<Result<readonly string[], ToolOutput>> {
  const body = await buffer(text)
  const found = await workspace.ask('grep', { ...pattern, ignoreCase: true }, { body, signal })
  if (found.isErr()) return err(failedBy('', found.error))
  const { exitCode, stderr, isCut } = found.value
  if (exitCode === NOTHING) return ok([])
  const lines = printedText(found.value.body, isCut).replace(/\n$/, '').split('\n')
  if (exitCode === FOUND || isCut) return ok(lines.map(shortenLine))
  if (OUT_OF_MEMORY.test(stderr)) return err(failed(TOO_MUCH_MEMORY))
  const hint = pattern.isText ? '' : 'To search for exactly this text, give it as "text".'
  return err({ output: `${processMask.text(stderr)}${hint}`, exitCode, outcome: 'error' })
}

type Found = Extract<Awaited<ReturnType<typeof searchFiles>>, { value: unknown }>['value']

function searchOutput(found: Found, output: Grep['output']): ToolOutput {
  const { exitCode, shown, isTree, isCut, leftOut } = found
  const nothing = nothingBut('Nothing matches.', leftOut)
  const isBelow = isTree && shown !== '.'
  const paths = isBelow ? found.printed.replace(/^\.\//gm, () => `${shown}/`) : found.printed
  // grep counts in all files that it searches.
  const printed = output === 'counts' ? paths.replace(/^.*:0\n/gm, '') : paths
  const lines = printed.split('\n').map(shortenLine).join('\n')
  const stderr = processMask.text(found.stderr) + unopened(found)
  if (exitCode === FOUND || isCut) return succeeded(lines === '' ? nothing : `${lines}${stderr}`)
  if (exitCode === NOTHING && !isTree) return succeeded(nothing)
  // Lines were found, but some files could not be read.
  if (printed !== '') return succeeded(`${lines}${stderr}`)
  if (OUT_OF_MEMORY.test(stderr)) return failed(TOO_MUCH_MEMORY)
  return { output: stderr, exitCode, outcome: 'error' }
}

const unopened = ({ left }: Found): string =>
  left.unopened > 0 ? `[${left.unopened} files or folders could not be opened]\n` : ''

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
    path: projectPath.optional().describe('A folder or file to search; the project if left out'),
    name: z
      .string()
      .min(1)
      .max(200)
      .refine((text) => !/[/\0]/.test(text), 'must be the name of a file, without its folder')
      .optional()
      .describe('Only files with such a name, as a glob like "*.ts"'),
    ignore_case: z.boolean().optional().describe('Whether case is ignored; it matters if left out'),
    context: z
      .int()
      .min(0)
      .max(MAX_CONTEXT)
      .optional()
      .describe('Lines to show before and after each match, as path-line-text'),
    output: z.enum(['lines', 'files', 'counts']).optional().describe('"lines" if left out'),
    ...searchScope,
  }),
  touches: ({ path = '.' }) => ({ trees: [path] }),
  run: async ({ pattern, path = '.', ...options }, context) => {
    const { output = 'lines', context: around = 0, name = '*', ignore_case = false } = options
    const grep = { pattern, output, context: around, ignoreCase: ignore_case }
    const wanted = { path, glob: `**/${name}`, limit: Number.MAX_SAFE_INTEGER, grep }
    const found = await searchFiles(wanted, options, context)
    return found.match(
      (found) => searchOutput(found, output),
      (failure) => failedBy(path, failure),
    )
  },
})
