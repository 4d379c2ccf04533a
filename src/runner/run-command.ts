import { totalmem } from 'node:os'
import { present } from '../domain/present.ts'
import { collectOutput } from './collect-output.ts'
import {
  type Command,
  type CommandLimits,
  type CommandResult,
  DEFAULT_MAX_BYTES,
  type RunCommand,
} from './command.ts'
import { type Isolation, NO_ISOLATION } from './isolation/isolation.ts'
import { prepareCall, refusalOf } from './prepare-call.ts'
import { Runner } from './runner.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
/** The memory of the machine or its container. */
const MEMORY_BYTES = Math.min(totalmem(), process.constrainedMemory() || totalmem())

/** One command may use half of the memory, all together three quarters; nothing else stops what test suites do. */
export const DEFAULT_LIMITS: CommandLimits = {
  memoryBytes: Math.floor(MEMORY_BYTES / 2),
  processes: 512,
  homeBytes: 4 * GIB,
  freeDiskBytes: 512 * MIB,
  all: { memoryBytes: Math.floor((MEMORY_BYTES * 3) / 4), processes: 4096 },
  outputBytes: 512 * MIB,
  group: null,
  variables: [],
}

const silent = { info: () => {}, error: () => {} }
/** For code that runs commands without a server. Its process starts with the first command. */
const ownRunner = new Runner(silent)

/** Runs commands within these limits, each in a process group of its own. */
export const commandRunner =
  (limits: CommandLimits, runner: Runner = ownRunner, isolation = NO_ISOLATION): RunCommand =>
  (command) =>
    run(command, limits, { runner, isolation })

/** Runs commands within the default limits. */
export const runCommand: RunCommand = commandRunner(DEFAULT_LIMITS)

async function run(
  command: Command,
  most: CommandLimits,
  { runner, isolation }: { readonly runner: Runner; readonly isolation: Isolation },
): Promise<CommandResult> {
  const begun = performance.now()
  const durationMs = (): number => Math.round(performance.now() - begun)
  const { timeoutMs, signal, maxBytes: keptBytes = DEFAULT_MAX_BYTES } = command
  if (signal.aborted) return notRun('aborted', '', durationMs())
  const prepared = await prepareCall(command, most, isolation)
  if (prepared.isErr()) {
    const { end, message } = prepared.error
    return notRun(end, message, durationMs())
  }
  const { request, outputBytes, policyAfter, done } = prepared.value
  const call = runner.start({ ...request, timeoutMs, keptBytes }, command.onNotice)
  const onAbort = (): void => call.stop('aborted')
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  const output = collectOutput(call, keptBytes, {
    maxTotalBytes: outputBytes,
    onTooMuch: () => call.stop('too_much_output'),
    ...present({ onOutput: command.onOutput }),
  })
  const ended = await call.ended
  await output.closed
  signal.removeEventListener('abort', onAbort)
  await done(ended.end === 'exited')
  if ('message' in ended) {
    const { end, message, shortage } = refusalOf(ended, output.stderr.text())
    return { ...notRun(end, message, durationMs()), ...(shortage && { shortage }) }
  }
  const [stdout, stderr] = [output.stdout.text(), output.stderr.text()]
  const limitBytes = { out_of_memory: request.limits.memoryBytes, too_much_output: outputBytes }
  const policy = policyAfter(ended)
  return {
    end: ended.end,
    ...(ended.end === 'out_of_memory' || ended.end === 'too_much_output'
      ? { limitBytes: limitBytes[ended.end] }
      : {}),
    ...('why' in ended ? { why: ended.why } : {}),
    exitCode: ended.end === 'exited' ? ended.exitCode : null,
    ...{ stdout, stderr, output: onlyOne(stdout, stderr) ?? output.both.text() },
    bytes: output.bytes(),
    durationMs: durationMs(),
    ...(ended.end === 'exited' && ended.report !== undefined ? { report: ended.report } : {}),
    ...present({ policy }),
  }
}

/** Most commands use only one stream. Then its text is also that of both in order. */
const onlyOne = (stdout: string, stderr: string): string | null =>
  stderr === '' ? stdout : stdout === '' ? stderr : null

function notRun(end: CommandResult['end'], message: string, durationMs: number): CommandResult {
  const bytes = Buffer.byteLength(message)
  return { end, exitCode: null, stdout: '', stderr: message, output: message, bytes, durationMs }
}
