import { totalmem } from 'node:os'
import { ok } from 'neverthrow'
import { collectOutput } from './collect-output.ts'
import {
  type Command,
  type CommandLimits,
  type CommandResult,
  commandEnvironment,
  DEFAULT_MAX_BYTES,
  type RunCommand,
} from './command.ts'
import { diskShortage } from './disk-watch.ts'
import { type Isolation, NO_ISOLATION } from './isolation/isolation.ts'
import { EVERYTHING } from './isolation/policy.ts'
import { lowerLimits, policyOf } from './isolation/run-policy.ts'
import { notIsolated } from './isolation/sandbox.ts'
import { Runner } from './runner.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
/** Of the machine or its container. */
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
  { runner, isolation: own }: { readonly runner: Runner; readonly isolation: Isolation },
): Promise<CommandResult> {
  const begun = performance.now()
  const durationMs = (): number => Math.round(performance.now() - begun)
  const { file, args, cwd, project = cwd, timeoutMs, signal } = command
  if (signal.aborted) return notRun('aborted', '', durationMs())
  const enough = command.atLeast === undefined ? ok(own) : await own.atLeast(command.atLeast)
  if (enough.isErr()) return notRun('not_isolated', enough.error, durationMs())
  const isolation = enough.value
  const limits = lowerLimits(most, command.atMost ?? {})
  const memoryBytes = Math.min(limits.memoryBytes, command.maxMemoryBytes ?? limits.memoryBytes)
  if (isolation.level === null) return notRun('not_isolated', isolation.detail, durationMs())
  const { outputBytes, group, ...kept } = limits
  const short = await diskShortage([command.project ?? cwd], limits.freeDiskBytes)
  if (short !== null) return notRun('not_started', noDisk(short), durationMs())
  const ownEnv = commandEnvironment(process.env, command.env)
  const prepared = isolation.prepare(command, ownEnv)
  const { env, sandbox } = prepared ?? { env: ownEnv, sandbox: null }
  const ownLimits = { ...kept, memoryBytes }
  const keptBytes = command.maxBytes ?? DEFAULT_MAX_BYTES
  const call = runner.start(
    { file, args, cwd, project, env, timeoutMs, keptBytes, limits: ownLimits, group, sandbox },
    command.onNotice,
  )
  const onAbort = (): void => call.stop('aborted')
  signal.addEventListener('abort', onAbort)
  const output = collectOutput(call, keptBytes, {
    maxTotalBytes: outputBytes,
    onTooMuch: () => call.stop('too_much_output'),
    ...(command.onOutput === undefined ? {} : { onOutput: command.onOutput }),
  })
  const ended = await call.ended
  await output.closed
  signal.removeEventListener('abort', onAbort)
  await prepared?.done()
  if ('message' in ended) {
    const { end, message, facts: _, ...shortage } = ended
    // Without a message it is bwrap that failed, and that printed why.
    const why = message || notIsolated(output.stderr.text()).message
    return { ...notRun(end, why, durationMs()), ...shortage }
  }
  const facts = ended.end === 'lost' ? undefined : sandbox === null ? EVERYTHING : ended.facts
  const limitBytes = { out_of_memory: memoryBytes, too_much_output: outputBytes }
  return {
    end: ended.end,
    ...(ended.end === 'out_of_memory' || ended.end === 'too_much_output'
      ? { limitBytes: limitBytes[ended.end] }
      : {}),
    ...('why' in ended ? { why: ended.why } : {}),
    exitCode: ended.end === 'exited' ? ended.exitCode : null,
    stdout: output.stdout.text(),
    stderr: output.stderr.text(),
    output: output.both.text(),
    bytes: output.bytes(),
    durationMs: durationMs(),
    ...(facts === undefined ? {} : { policy: policyOf(isolation, facts, limits, command.network) }),
  }
}

/** Why no command is started, for people. */
export const noDisk = (short: string): string =>
  `No command is started: there is less than ${short}. Free some space, or lower RETRAI_MIN_FREE_DISK_MIB.`

function notRun(end: CommandResult['end'], message: string, durationMs: number): CommandResult {
  const bytes = Buffer.byteLength(message)
  return { end, exitCode: null, stdout: '', stderr: message, output: message, bytes, durationMs }
}
