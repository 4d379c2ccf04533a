import * as z from 'zod'
import { optional } from '../../domain/fields.ts'
import type { BackgroundProcess } from '../run/background-processes.ts'
import { commandLine, startFolder } from './commands.ts'
import {
  defineTool,
  failed,
  projectPath,
  succeeded,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

const MAX_WAIT_S = 600
/** How long a start waits for a process that fails at once. */
const START_WAIT_S = 1
/** How long a read or a start waits for a text if it names no time. */
const TEXT_WAIT_S = 30

const waiting = {
  wait_for: optional(
    z.string().min(1).max(1_000),
    'Returns as soon as this exact text is in the new output, such as "listening on"',
  ),
  wait_s: optional(
    z.number().nonnegative().max(MAX_WAIT_S),
    `Seconds to wait, unless the process ends before; ${TEXT_WAIT_S} with wait_for if left out`,
  ),
}
const id = z.string().describe('The id of the process, from process_start')

type Waiting = { readonly wait_for?: string | undefined; readonly wait_s?: number | undefined }

/** Waits as a call asks for, and returns what is new. */
async function newOutput(
  process: BackgroundProcess,
  { wait_for, wait_s }: Waiting,
  defaultS: number,
  signal: AbortSignal,
): Promise<ToolOutput> {
  const text = wait_for ?? null
  const seconds = wait_s ?? (text === null ? defaultS : TEXT_WAIT_S)
  const isFound = await process.wait(text, seconds * 1000, signal)
  const output = process.read()
  const { end } = process
  const shown = output === '' ? '(no new output)\n' : output.endsWith('\n') ? output : `${output}\n`
  const missed = isFound ? '' : `; ${JSON.stringify(text)} did not appear`
  const result = `${shown}[process ${process.id} ${process.state}${missed}]`
  if (end === null || end.end === 'aborted') return succeeded(result)
  const isFine = end.end === 'exited' && end.exitCode === 0
  const outcome = isFine ? 'ok' : end.end === 'not_isolated' ? 'not_isolated' : 'error'
  return { output: result, exitCode: end.exitCode, outcome }
}

const line = ({ id, state, command }: BackgroundProcess): string =>
  `${id} ${state}: ${command.split('\n')[0]}`

const listOf = ({ processes }: ToolContext): string =>
  (processes?.list() ?? []).map(line).join('\n') || 'There are no background processes.'

/** Why there is no process with this id, for the model. */
const gone = (wanted: string, context: ToolContext): ToolOutput =>
  failed(
    `There is no process ${wanted}. If there was one, it has ended: all background processes end when the server stops or ` +
      `fails, or the run waits for a person. Start it again if you need it. Those that are known:\n${listOf(context)}`,
  )

export const processStart = defineTool({
  name: 'process_start',
  description:
    'Start a command with bash that works in the background, such as a development server or a watcher, and get its id ' +
    'and first output. It has no time limit, but ends at the latest before the goal is checked, because a check needs a ' +
    'project that nothing changes. Your other commands reach its ports on localhost while it works.',
  readOnly: false,
  args: z.strictObject({
    command: commandLine,
    folder: optional(projectPath, "The folder where it starts; the project's if left out"),
    ...waiting,
  }),
  touches: ({ command, folder }) => ({ commands: [command], startsIn: folder }),
  run: async ({ command, folder, ...wait }, context) => {
    const { processes, startProcess, callId, network, variables: env, signal } = context
    if (processes === null || startProcess === null) {
      return failed('Background processes are not possible here. Use bash_exec.')
    }
    const started = await startFolder(context, folder)
    if (started.isErr()) return started.error
    const program = { file: 'bash', args: ['-c', command], env, cwd: started.value }
    const request = { ...program, network, localhost: 'opens' } as const
    const process = await processes.start(startProcess, request, { callId, command })
    if (process === null) {
      return failed(`Too many processes are running. Stop one first:\n${listOf(context)}`)
    }
    return newOutput(process, wait, START_WAIT_S, signal)
  },
})

export const processRead = defineTool({
  name: 'process_read',
  description:
    'Get what a background process has printed since it was last read, and its state. It can wait for a text or some ' +
    'seconds. Without an id: a list of all background processes.',
  readOnly: true,
  args: z.strictObject({ id: id.optional(), ...waiting }),
  touches: () => ({}),
  run: async ({ id: wanted, ...wait }, context) => {
    if (wanted === undefined) return succeeded(listOf(context))
    const process = context.processes?.find(wanted)
    if (process === undefined) return gone(wanted, context)
    return newOutput(process, wait, 0, context.signal)
  },
})

export const processStop = defineTool({
  name: 'process_stop',
  description:
    'Stop a background process with everything that it has started, and get its last output.',
  readOnly: false,
  args: z.strictObject({ id }),
  touches: () => ({}),
  run: async ({ id: wanted }, context) => {
    const process = context.processes?.find(wanted)
    if (process === undefined) return gone(wanted, context)
    await process.stop()
    return newOutput(process, {}, 0, context.signal)
  },
})
