import { join } from 'node:path'
import * as z from 'zod'
import { splitCommand } from '../../domain/approvals/split-command.ts'
import { NulFree } from '../../domain/fields.ts'
import { isWithin } from '../../lib/is-within.ts'
import { shellWord } from '../../lib/shell-word.ts'
import { type CommandResult, overLimit } from '../../runner/command.ts'
import { firstOf } from '../goals/project-files.ts'
import { projectPath } from './project-path.ts'
import { endOfShell, reporting, startOfShell } from './shell-folder.ts'
import { defineTool, failed, type ToolContext, type ToolOutput } from './tool.ts'

/** Bytes kept of a command's output, for its artifact. */
const WHOLE_OUTPUT_BYTES = 8 * 1024 * 1024

const withNote = (output: string, note: string): string =>
  `${output}${output === '' || output.endsWith('\n') ? '' : '\n'}[${note}]`

/** The result of a tool that ran a command. @param advice what to do if it was stopped at its time limit, as a sentence */
export function commandOutput(result: CommandResult, timeoutMs: number, advice = ''): ToolOutput {
  const { end, exitCode, output } = result
  switch (end) {
    case 'exited':
      return { output, exitCode, outcome: exitCode === 0 ? 'ok' : 'error' }
    case 'timed_out': {
      const note = `stopped at its time limit of ${timeoutMs / 1000} s, with all its processes${advice}`
      return { output: withNote(output, note), exitCode, outcome: 'timed_out' }
    }
    case 'out_of_memory':
    case 'too_many_processes':
    case 'disk_full':
    case 'too_much_output': {
      const note = `stopped because it ${overLimit(result)}, with all its processes`
      return { output: withNote(output, note), exitCode, outcome: 'error' }
    }
    case 'aborted': {
      const note = 'stopped with the run, with all its processes'
      return { output: withNote(output, note), exitCode, outcome: 'aborted' }
    }
    case 'lost': {
      const note =
        'the process that runs commands has died: whether this took effect is not known. Look before you run it again'
      return { output: withNote(output, note), exitCode, outcome: 'unknown' }
    }
    case 'not_isolated':
      return { output, exitCode, outcome: 'not_isolated' }
    case 'not_found':
    case 'not_started':
      return { output, exitCode, outcome: 'error' }
  }
}

/** Programs whose exit code 1 is an answer: nothing was found, or two files differ. */
const ANSWERS_WITH_1: ReadonlySet<string> = new Set([
  ...['grep', 'egrep', 'fgrep', 'rg', 'find', 'diff', 'cmp', 'test', '['],
])

/** Whether exit code 1 of a command line is not a failure. A line that cannot be split with certainty may have failed. */
function answersWith1(line: string): boolean {
  const commands = splitCommand(line)
  if ('doubt' in commands) return false
  const names = commands.map(({ text: [first] }) => (first ?? '').split(' ', 1).join())
  const last = names.pop() ?? ''
  const others = /&&|\|\|/.test(line) ? names : []
  return ANSWERS_WITH_1.has(last) && others.every((one) => one === 'cd' || ANSWERS_WITH_1.has(one))
}

const IF_TIMED_OUT =
  '. A server or watcher belongs in process_start. If it only needs longer, start it with process_start and read it later, ' +
  'or give a larger timeout_s. If it waited for input, find a way without'
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
    folder: projectPath
      .optional()
      .describe('The folder of the project where it starts; where the last call ended if left out'),
    timeout_s: z
      .number()
      .positive()
      .max(MAX_TIMEOUT_S)
      .optional()
      .describe(`Seconds until it is stopped; ${DEFAULT_TIMEOUT_S} if left out`),
  }),
  touches: ({ command, folder = null }) => ({ commands: [command], startsIn: folder }),
  run: async ({ command, folder, timeout_s = DEFAULT_TIMEOUT_S }, context) => {
    const started = await startOfShell(context, folder)
    if (started.isErr()) return failed(started.error)
    const start = started.value
    const { signal, runCommand, network, variables: env, onOutput } = context
    const timeoutMs = timeout_s * 1000
    const result = await runCommand({
      file: 'bash',
      args: reporting(command),
      cwd: start.cwd,
      timeoutMs,
      maxBytes: WHOLE_OUTPUT_BYTES,
      env,
      network,
      localhost: 'joins',
      reports: true,
      onOutput,
      signal,
    })
    const { notes, ...end } = await endOfShell(context, start, result.report)
    const { output, ...ended } = commandOutput(result, timeoutMs, IF_TIMED_OUT)
    const isAnswer = result.end === 'exited' && result.exitCode === 1 && answersWith1(command)
    const outcome = isAnswer ? 'ok' : ended.outcome
    const refused = context.isolated ? gitRefusal(output, context.cwd) : []
    const said = [...notes, ...refused, ...(NO_PROGRAM.test(output) ? [A_TOOL] : [])]
    return { ...ended, ...end, outcome, output: said.reduce(withNote, output) }
  },
})

const NO_PROGRAM = /apply_patch: (command )?not found/
const A_TOOL = 'apply_patch is a tool and no program: call the tool, with the patch as its input'

const NO_LOCK = /Unable to create '([^']+\.lock)': (?:Read-only file system|Permission denied)/

/** What to do if git could not change a repository of which the project is a part, such as that of a linked worktree. */
function gitRefusal(output: string, cwd: string): string[] {
  const lock = NO_LOCK.exec(output)?.[1]
  if (lock === undefined || isWithin(cwd, lock)) return []
  return [
    'commands can read this repository, but not change it, because it is not in the folder of the project. Leave your ' +
      'changes in the files and do not stage or commit them: a person does that',
  ]
}

const TIMEOUT_MS = 600_000
const VIRTUAL_ENVIRONMENTS = ['.venv', 'venv']

/** The Python of the project's own virtual environment, otherwise the one on the PATH. */
async function pythonOf({ cwd, workspace }: ToolContext): Promise<string> {
  const own = VIRTUAL_ENVIRONMENTS.map((folder) => join(folder, 'bin', 'python'))
  const found = await firstOf(workspace, own)
  return found === null ? 'python3' : join(cwd, found)
}

export const runPytest = defineTool({
  name: 'run_pytest',
  description:
    "Run pytest in the project's folder and get its report. Uses the project's .venv or venv where " +
    'there is one.',
  readOnly: false,
  args: z.strictObject({
    args: z
      .array(NulFree)
      .max(100)
      .optional()
      .describe('Arguments of pytest, one an item, such as ["-x", "tests/test_cart.py"]'),
  }),
  touches: ({ args = [] }) => ({ commands: [['pytest', ...args.map(shellWord)].join(' ')] }),
  run: async ({ args = [] }, context) => {
    const { cwd, signal, runCommand, network, variables: env, onOutput } = context
    const result = await runCommand({
      file: await pythonOf(context),
      args: ['-m', 'pytest', '--color=no', ...args],
      cwd,
      timeoutMs: TIMEOUT_MS,
      maxBytes: WHOLE_OUTPUT_BYTES,
      env,
      network,
      localhost: 'joins',
      onOutput,
      signal,
    })
    return commandOutput(result, TIMEOUT_MS)
  },
})
