import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { processMask } from '../../log/masking.ts'
import type { CommandResult } from '../../runner/command.ts'
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
import { defineTool, failed, succeeded, type ToolOutput } from './tool.ts'

const TIMEOUT_MS = 30_000
const MAX_BYTES = 1024 * 1024
const MAX_PER_FILE = 500
/** A line of a minified file can hold a megabyte; its beginning tells where it is. */
const LINE_LENGTH = 500
/** Stands behind a line that was cut on the way. */
const CUT = '\x1f'
/** Cut by bytes on the way, so that such lines neither flood us nor crowd out what else is found. */
const CUTTER = `length > ${4 * LINE_LENGTH} { $0 = substr($0, 1, ${4 * LINE_LENGTH}) "\\037" } { print }`
/** Of each of the two programs: an expression such as a{1,30000} takes gigabytes. */
const MEMORY_MIB = 512
/**
 * Where a shell cannot limit memory, the limit of all commands holds. Nothing leaves a core
 * file. The first argument is what grep reads if it is asked for `-`.
 */
const PIPELINE = `ulimit -c 0; ulimit -v ${MEMORY_MIB * 1024} 2>/dev/null; set -o pipefail; input="$1"; shift; grep "$@" <"$input" | LC_ALL=C awk '${CUTTER}'`
const OPTIONS = ['-HnIE', `--max-count=${MAX_PER_FILE}`, '--color=never']
const TREE_OPTIONS = ['-r', '--exclude-dir=.git', '--exclude-dir=node_modules']
/** How grep ends: lines were found, none were, something went wrong. */
const FOUND = 0
const NOTHING = 1

/** What grep says where its memory does not do, with LANGUAGE as it is set below. */
const OUT_OF_MEMORY = /memory exhausted|program error/i
const TOO_MUCH_MEMORY =
  `The search needs more than ${MEMORY_MIB} MiB of memory. Write a simpler pattern, such as one with ` +
  'small numbers in braces, or search a smaller part of the project.'

function shortenLine(line: string): string {
  const whole = line.endsWith(CUT) ? withoutHalf(line.slice(0, -CUT.length)) : line
  if (whole === line && line.length <= LINE_LENGTH) return line
  return `${whole.slice(0, LINE_LENGTH).replace(/[\uD800-\uDBFF]$/, '')} […]`
}

/** What a line was cut in could be a secret, of which a half is not known as one. */
function withoutHalf(line: string): string {
  const pieces = processMask.pieces()
  return pieces.write(line) + pieces.cut()
}

function searchOutput(result: CommandResult, { shown, isTree }: Place): ToolOutput {
  const { end, exitCode, stderr } = result
  const isBelow = isTree && shown !== '.'
  const stdout = isBelow ? result.stdout.replace(/^\.\//gm, () => `${shown}/`) : result.stdout
  const lines = stdout.split('\n').map(shortenLine).join('\n')
  if (end !== 'exited') return commandOutput({ ...result, output: lines || stderr }, TIMEOUT_MS)
  if (exitCode === FOUND) return succeeded(lines)
  if (exitCode === NOTHING) return succeeded('Nothing matches.')
  // Lines were found, but some files could not be read.
  if (stdout !== '') return succeeded(`${lines}${stderr}`)
  if (OUT_OF_MEMORY.test(stderr)) return failed(TOO_MUCH_MEMORY)
  return { output: stderr, exitCode, outcome: 'error' }
}

/** What is searched, held open: a link that is put in its place while grep starts leads nowhere. */
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
    '(grep -E), as path:line:text. Leaves out .git and node_modules.',
  readOnly: true,
  args: z.strictObject({
    pattern: z
      .string()
      .min(1)
      .max(10_000)
      .refine((text) => !text.includes('\0'), 'has a NUL character in it')
      .describe('Extended regular expression, matched within each line; case matters'),
    path: projectPath.optional().describe('A folder or file to search; the project if left out'),
  }),
  run: async ({ pattern, path = '.' }, { signal, runCommand, ...project }) => {
    const confined = await confine(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const found = await openPlace(confined.value, project)
    if (found.isErr()) return failed(describeProblem(path, found.error))
    const place = found.value
    const at = pathForCommands(place.opened)
    const what = place.isTree
      ? { cwd: at, input: '/dev/null', args: [...TREE_OPTIONS, '-e', pattern, '--', '.'] }
      : { cwd: '/', input: at, args: [`--label=${place.shown}`, '-e', pattern, '--', '-'] }
    try {
      const result = await runCommand({
        file: 'bash',
        args: ['-c', PIPELINE, 'grep', what.input, ...OPTIONS, ...what.args],
        cwd: what.cwd,
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_BYTES,
        env: { LANGUAGE: 'en' },
        signal,
      })
      return searchOutput(result, place)
    } finally {
      await place.opened.file.close()
    }
  },
})
