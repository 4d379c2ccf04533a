import { isAbsolute } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { ownProgram } from '../../checks/project-files.ts'
import { NulFree, optional } from '../../domain/fields.ts'
import { shellWord } from '../../lib/text.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { Command, CommandResult } from '../../runner/command.ts'
import { REPORT_FD } from '../../sandbox/container-shell.ts'
import type { Place } from '../../workspace/protocol.ts'
import {
  defineTool,
  failedBy,
  placeOf,
  projectPath,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

/** Bytes kept of a command's output, for its artifact. */
const WHOLE_OUTPUT_BYTES = 8 * 1024 * 1024

const withNote = (output: string, note: string): string =>
  `${output}${output === '' || output.endsWith('\n') ? '' : '\n'}[${note}]`

/** The result of a tool that ran a command. @param advice what to do if it was stopped at its time limit, as a sentence */
export function commandOutput(result: CommandResult, timeoutMs: number, advice = ''): ToolOutput {
  const { end, exitCode, output } = result
  const stopped = (outcome: ToolOutput['outcome'], note: string): ToolOutput => {
    return { output: withNote(output, note), exitCode, outcome }
  }
  switch (end) {
    case 'exited':
      return { output, isMasked: true, exitCode, outcome: exitCode === 0 ? 'ok' : 'error' }
    case 'timed_out': {
      const limit = `its time limit of ${timeoutMs / 1000} s`
      return stopped('timed_out', `stopped at ${limit}, with all its processes${advice}`)
    }
    case 'aborted':
      return stopped('aborted', 'stopped with the run, with all its processes')
    case 'lost':
      return stopped(
        'unknown',
        'the process that runs commands has died: whether this took effect is not known. Look before you run it again',
      )
    case 'not_isolated':
    case 'not_found':
    case 'not_started':
      return { output, exitCode, outcome: end === 'not_isolated' ? end : 'error' }
    default:
      return stopped('error', `stopped because it ${result.why}, with all its processes`)
  }
}

/** Runs a command of the model: observers see its output, and it reaches what its run does. */
const runFor = (
  { signal, runCommand, network, variables: env, onOutput }: ToolContext,
  command: Pick<Command, 'file' | 'args' | 'cwd' | 'timeoutMs' | 'reports'>,
): Promise<CommandResult> =>
  runCommand({
    ...command,
    maxBytes: WHOLE_OUTPUT_BYTES,
    env,
    network,
    localhost: 'joins',
    onOutput,
    signal,
  })

/** The project's folder, as a path from the project. */
const PROJECT = '.'

/** A descriptor that scripts do not use, such as 3 to 9 and 200. Older bash cannot choose a free one. */
const KEPT_FD = 173

/**
 * Runs its argument as `bash -c` does. When this shell ends, it reports its folder to the runner. It
 * reports nothing after `exec`, after a kill, or if the command sets a trap on EXIT itself. The exit code stays, and
 * nothing is printed, also with tracing, noclobber, errexit or a trap on DEBUG. Tracing shows `eval` as one more level.
 */
const REPORTING = [
  `{ exec ${KEPT_FD}>&${REPORT_FD} ${REPORT_FD}>&-; } 2>/dev/null || :`,
  'retrai_command=$1',
  'shift',
  `trap '{ builtin trap - DEBUG; builtin set +x; builtin pwd -P >&${KEPT_FD}; } >/dev/null 2>&1 || :' EXIT`,
  'eval "$retrai_command"',
].join('; ')

/** A folder of the project. The error is the result of the call. */
async function folderOf(context: ToolContext, folder: string): Promise<Result<Place, ToolOutput>> {
  const found = await placeOf(context, folder)
  return found.andThen((place) => {
    if (place.kind === 'folder') return ok(place)
    const type = place.kind === 'nothing' ? 'not_found' : 'not_a_folder'
    return err(failedBy(folder, { problem: { type } }))
  })
}

/** The folder in the project where a command starts. The error is the result of the call. */
export async function startFolder(
  context: ToolContext,
  folder: string = PROJECT,
): Promise<Result<string, ToolOutput>> {
  if (folder === PROJECT) return ok(context.cwd)
  return (await folderOf(context, folder)).map(({ real }) => real)
}

/** Where the next shell starts, and what the model must know of that. @param report what the command has reported: anything */
async function endOfShell(context: ToolContext, report: string | undefined) {
  const { shellFolder } = context
  const path = report?.replace(/\n$/, '') ?? ''
  const isPath = isAbsolute(path) && !path.includes('\0')
  // Most commands end in the folder of the project, whose name leads through no link then.
  const inProject = path === context.cwd ? ok({ shown: PROJECT }) : null
  const found = inProject ?? (isPath ? await folderOf(context, path) : ok({ shown: shellFolder }))
  const folder = found.isOk() ? found.value.shown : PROJECT
  const notes = found.isErr()
    ? ['this command ended in no folder of the project, so the next one starts in its folder']
    : []
  if (folder !== PROJECT) notes.push(`the next command starts in ${JSON.stringify(folder)}`)
  return folder === PROJECT && shellFolder === PROJECT ? { notes } : { folder, notes }
}

const IF_TIMED_OUT =
  '. A server or watcher belongs in process_start. If it only needs longer, start it with process_start and read it later, ' +
  'or give a larger timeout_s. If it waited for input, find a way without'
/** Some models are trained with a shell that has this command. */
const PATCH_AS_COMMAND = /\bapply_patch: command not found/
const DEFAULT_TIMEOUT_S = 120
const MAX_TIMEOUT_S = 3600

/** What a model gives to bash. */
export const commandLine = NulFree.min(1).describe('The command line, as bash takes it')

export const bashExec = defineTool({
  name: 'bash_exec',
  description:
    'Run a command with bash and get its output (stdout and stderr) and exit code. It starts in the folder in which the ' +
    "last call ended, at first in the project's folder. Each call is a new shell without a terminal or input: it keeps no " +
    'variables of the last call. Processes left in the background end with the call: start servers and watchers with process_start.',
  readOnly: false,
  args: z.strictObject({
    command: commandLine,
    folder: optional(
      projectPath,
      'The folder of the project where it starts; where the last call ended if left out',
    ),
    timeout_s: optional(
      z.number().positive().max(MAX_TIMEOUT_S),
      `Seconds until it is stopped; ${DEFAULT_TIMEOUT_S} if left out`,
    ),
  }),
  touches: ({ command, folder = null }) => ({ commands: [command], startsIn: folder }),
  run: async ({ command, folder, timeout_s = DEFAULT_TIMEOUT_S }, context) => {
    const started = await startFolder(context, folder ?? context.shellFolder)
    if (started.isErr()) {
      // A folder that is gone must not keep later commands from starting.
      return folder === undefined ? { ...started.error, folder: PROJECT } : started.error
    }
    const timeoutMs = timeout_s * 1000
    const args = ['-c', REPORTING, 'bash', command]
    const shell = { file: 'bash', args, cwd: started.value, timeoutMs, reports: true }
    const result = await runFor(context, shell)
    const { notes, ...end } = await endOfShell(context, result.report)
    const { output, ...ended } = commandOutput(result, timeoutMs, IF_TIMED_OUT)
    if (PATCH_AS_COMMAND.test(output)) notes.push('apply_patch is a tool of yours, and no command')
    return { ...ended, ...end, output: notes.map(processMask.text).reduce(withNote, output) }
  },
})

const PYTEST_TIMEOUT_MS = 600_000

export const runPytest = defineTool({
  name: 'run_pytest',
  description:
    "Run pytest in the project's folder and get its report. Uses the project's .venv or venv where " +
    'there is one.',
  readOnly: false,
  args: z.strictObject({
    args: optional(
      z.array(NulFree).max(100),
      'Arguments of pytest, one an item, such as ["-x", "tests/test_cart.py"]',
    ),
  }),
  touches: ({ args = [] }) => ({ commands: [['pytest', ...args.map(shellWord)].join(' ')] }),
  run: async ({ args = [] }, context) => {
    const pytest = ['-m', 'pytest', '--color=no', ...args]
    const file = (await ownProgram(context.workspace, 'python')) ?? 'python3'
    const program = { file, args: pytest, cwd: context.cwd, timeoutMs: PYTEST_TIMEOUT_MS }
    return commandOutput(await runFor(context, program), PYTEST_TIMEOUT_MS)
  },
})
