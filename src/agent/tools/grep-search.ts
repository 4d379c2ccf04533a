import { z } from 'zod'
import { processMask } from '../../store/masking.ts'
import type { CommandResult } from '../process/command.ts'
import { commandOutput } from './command-output.ts'
import { confine, projectPath } from './confine.ts'
import { defineTool, failed, succeeded } from './define-tool.ts'
import { describeProblem } from './path-problem.ts'
import type { ToolOutput } from './tool.ts'

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
/** Where a shell cannot limit memory, the limit of all commands holds. Nothing leaves a core file. */
const PIPELINE = `ulimit -c 0; ulimit -v ${MEMORY_MIB * 1024} 2>/dev/null; set -o pipefail; grep "$@" | LC_ALL=C awk '${CUTTER}'`
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

function searchOutput(result: CommandResult): ToolOutput {
  const { end, exitCode, stdout, stderr } = result
  const lines = stdout.split('\n').map(shortenLine).join('\n')
  if (end !== 'exited') return commandOutput({ ...result, output: lines || stderr }, TIMEOUT_MS)
  if (exitCode === FOUND) return succeeded(lines)
  if (exitCode === NOTHING) return succeeded('Nothing matches.')
  // Lines were found, but some files could not be read.
  if (stdout !== '') return succeeded(`${lines}${stderr}`)
  if (OUT_OF_MEMORY.test(stderr)) return failed(TOO_MUCH_MEMORY)
  return { output: stderr, exitCode, outcome: 'error' }
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
  run: async ({ pattern, path = '.' }, { cwd, signal, runCommand }) => {
    const confined = await confine(cwd, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const { root, shown } = confined.value
    const result = await runCommand({
      file: 'bash',
      args: [
        ...['-c', PIPELINE, 'grep'],
        ...['-rHnIE', `--max-count=${MAX_PER_FILE}`, '--color=never'],
        ...['--exclude-dir=.git', '--exclude-dir=node_modules', '-e', pattern, '--', shown],
      ],
      cwd: root,
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BYTES,
      env: { LANGUAGE: 'en' },
      signal,
    })
    return searchOutput(result)
  },
})
