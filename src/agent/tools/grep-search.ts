import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { NulFree } from '../../domain/fields.ts'
import { withTemporaryFolder } from '../../lib/temporary-folder.ts'
import { processMask } from '../../log/masking.ts'
import type { Command, CommandResult } from '../../runner/command.ts'
import { commandOutput } from './commands.ts'
import {
  type ConfinedPath,
  confine,
  type OpenedPath,
  openForReading,
  openTree,
  type Project,
  pathForCommands,
  projectPath,
} from './confine.ts'
import { describeProblem, type PathProblem } from './path-problem.ts'
import { cutLine, FOUND_LINE_CHARS } from './recorded-output.ts'
import { nothingBut, SCOPE, SEARCH_TIMEOUT_MS, searchFiles, searchScope } from './search-files.ts'
import { defineTool, failed, succeeded, type ToolContext, type ToolOutput } from './tool.ts'

const MAX_OUTPUT_BYTES = 1024 * 1024
const EVERY_FILE = { limit: Number.MAX_SAFE_INTEGER, maxBytes: MAX_OUTPUT_BYTES }
const MAX_PER_FILE = 500
/** Marks the end of a line that awk has cut. After it comes how many characters are left out. */
const CUT = '\x1f'
const KEPT_BYTES = 4 * FOUND_LINE_CHARS
/**
 * awk cuts long lines by bytes, so that they neither flood this process nor hide other lines. It counts the omitted
 * characters, not their bytes.
 */
const CUTTER = `length > ${KEPT_BYTES} { rest = substr($0, ${KEPT_BYTES + 1}); gsub(/[\\200-\\277]/, "", rest); $0 = substr($0, 1, ${KEPT_BYTES}) "\\037" length(rest) } { print }`
/** Memory of each of the two programs: an expression such as a{1,30000} needs gigabytes. */
const MEMORY_MIB = 512
/**
 * If a shell cannot limit the memory, only the limit of all commands applies. No core files are written. The first
 * argument is what grep reads for `-`.
 */
const PIPELINE = `ulimit -c 0; ulimit -v ${MEMORY_MIB * 1024} 2>/dev/null; set -o pipefail; input="$1"; shift; grep "$@" <"$input" | LC_ALL=C awk '${CUTTER}'`
const OPTIONS = ['-HIE', '--color=never']
/** What is printed of the files in which lines match. */
const PRINTED = {
  lines: ['-n', `--max-count=${MAX_PER_FILE}`],
  files: ['-l'],
  counts: ['-c'],
} as const
type Printed = keyof typeof PRINTED
const MAX_CONTEXT = 20
/** Exit codes of grep: lines were found, or none were. Any other is a failure. */
const FOUND = 0
const NOTHING = 1

/** What grep prints if it runs out of memory, with LANGUAGE as set below. */
const OUT_OF_MEMORY = /memory exhausted|program error/i
const TOO_MUCH_MEMORY =
  `The search needs more than ${MEMORY_MIB} MiB of memory. Write a simpler pattern, such as one with ` +
  'small numbers in braces, or search a smaller part of the project.'

function shortenLine(line: string): string {
  const [, kept, missing] = CUT_LINE.exec(line) ?? []
  if (kept === undefined) return cutLine(line, FOUND_LINE_CHARS)
  return cutLine(withoutHalf(kept), FOUND_LINE_CHARS, Number(missing))
}

const CUT_LINE = new RegExp(`^(.*)${CUT}(\\d+)$`, 's')

/** A line may be cut within a secret, and half a secret is not recognized as one. */
function withoutHalf(line: string): string {
  const pieces = processMask.pieces()
  return pieces.write(line) + pieces.cut()
}

/** The command that searches one file, with what awk cuts marked. @param args of grep, which reads the file as `-` */
const grepOf = (input: string, args: readonly string[], signal: AbortSignal): Command => ({
  file: 'bash',
  args: ['-c', PIPELINE, 'grep', input, ...args],
  cwd: '/',
  timeoutMs: SEARCH_TIMEOUT_MS,
  maxBytes: MAX_OUTPUT_BYTES,
  env: { LANGUAGE: 'en' },
  signal,
})

/**
 * The lines of a text that match an extended regular expression or contain a text, ignoring case, as `number:line`. A
 * pattern may take any time and memory to match, so this is a command, with limits.
 */
export async function grepText(
  text: AsyncIterable<Uint8Array>,
  { regex, literal }: { readonly regex: boolean; readonly literal: string },
  { runCommand, scratchDir, signal }: Pick<ToolContext, 'runCommand' | 'scratchDir' | 'signal'>,
): Promise<Result<readonly string[], ToolOutput>> {
  return withTemporaryFolder(scratchDir, 'search-', async (scratch) => {
    const file = join(scratch, 'text')
    await writeFile(file, text, { mode: 0o644 })
    const args = ['-a', '-n', '-i', regex ? '-E' : '-F', '--color=never', '-e', literal, '--', '-']
    const result = await runCommand({ ...grepOf(file, args, signal), cwd: scratch, scratch })
    const { end, exitCode, stdout, stderr } = result
    if (end !== 'exited') return err(commandOutput(result, SEARCH_TIMEOUT_MS))
    if (exitCode === NOTHING) return ok([])
    if (exitCode === FOUND) return ok(stdout.replace(/\n$/, '').split('\n').map(shortenLine))
    if (OUT_OF_MEMORY.test(stderr)) return err(failed(TOO_MUCH_MEMORY))
    const hint = regex ? 'To search for exactly this text, give it as "text".' : ''
    return err({ output: `${stderr}${hint}`, exitCode, outcome: 'error' })
  })
}

function searchOutput(
  result: CommandResult,
  { shown, isTree }: Place,
  printed: Printed,
  leftOut: string | null,
): ToolOutput {
  const nothing = nothingBut('Nothing matches.', leftOut)
  const { end, exitCode, stderr } = result
  const isBelow = isTree && shown !== '.'
  const paths = isBelow ? result.stdout.replace(/^\.\//gm, () => `${shown}/`) : result.stdout
  // grep counts in all files that it searches.
  const stdout = printed === 'counts' ? paths.replace(/^.*:0\n/gm, '') : paths
  const lines = stdout.split('\n').map(shortenLine).join('\n')
  if (end !== 'exited')
    return commandOutput({ ...result, output: lines || stderr }, SEARCH_TIMEOUT_MS)
  if (exitCode === FOUND) return succeeded(lines === '' ? nothing : `${lines}${stderr}`)
  if (exitCode === NOTHING && !isTree) return succeeded(nothing)
  // Lines were found, but some files could not be read.
  if (stdout !== '') return succeeded(`${lines}${stderr}`)
  if (OUT_OF_MEMORY.test(stderr)) return failed(TOO_MUCH_MEMORY)
  return { output: stderr, exitCode, outcome: 'error' }
}

/** What is searched, held open: a link that is put in its place while grep starts has no effect. */
type Place = {
  readonly isTree: boolean
  readonly shown: string
  readonly opened: OpenedPath
}

async function openPlace(
  confined: ConfinedPath,
  project: Project,
): Promise<Result<Place, PathProblem>> {
  const { shown } = confined
  const folder = await openTree(confined, project)
  if (folder.isOk()) return ok({ isTree: true, shown, opened: folder.value })
  if (folder.error.type !== 'not_a_folder') return err(folder.error)
  const opened = await openForReading(confined)
  return opened.map(({ file }) => ({ isTree: false, shown, opened: { file, real: confined.real } }))
}

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
  run: async ({ pattern, path = '.', ...options }, project) => {
    const confined = await confine(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const found = await openPlace(confined.value, project)
    if (found.isErr()) return failed(describeProblem(path, found.error))
    const place = found.value
    const { output: printed = 'lines', context = 0, name = '*' } = options
    const asked = [
      ...OPTIONS,
      ...PRINTED[printed],
      ...(options.ignore_case === true ? ['-i'] : []),
      ...(context > 0 && printed === 'lines' ? [`--context=${context}`] : []),
    ]
    try {
      if (place.isTree) {
        const command = ['bash', '-c', PIPELINE, 'grep', '/dev/null', ...asked, '-e', pattern, '--']
        const wanted = { ...EVERY_FILE, glob: `**/${name}`, command }
        const result = await searchFiles(place.opened, options, wanted, project)
        return searchOutput(result, place, printed, result.leftOut)
      }
      const input = pathForCommands(place.opened, project.isolated)
      const args = [...asked, `--label=${place.shown}`, '-e', pattern, '--', '-']
      const result = await project.runCommand(grepOf(input, args, project.signal))
      return searchOutput(result, place, printed, null)
    } finally {
      await place.opened.file.close()
    }
  },
})
