import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat, writeFile } from 'node:fs/promises'
import { constants, totalmem } from 'node:os'
import type { Readable } from 'node:stream'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../lib/message-of.ts'
import { collectOutput } from './collect-output.ts'
import {
  type Command,
  type CommandLimits,
  type CommandResult,
  commandEnvironment,
  DEFAULT_MAX_BYTES,
  type RunCommand,
  shortageOf,
} from './command.ts'
import { watchMemory } from './memory-watch.ts'
import {
  entryOf,
  killMarked,
  newMark,
  sendSignal,
  signalMarked,
  startReaper,
} from './stragglers.ts'

/** Between SIGTERM and SIGKILL: an abort has stopped everything within a second, whatever it ignores. */
export const GRACE_MS = 400
/** For what is still in the pipes once all that could write to them is killed. */
const DRAIN_MS = 1_000
/** For the kernel to let go of a killed child; one that hangs in a device never is. */
const REAP_MS = 5_000
const POLL_MS = 20
/** The longest that a timer of Node can be set. */
const MAX_TIMER_MS = 2 ** 31 - 1

type Child = ChildProcessByStdio<null, Readable, Readable>
type Started = {
  readonly child: Child
  readonly pid: number
  readonly exited: Promise<number>
}
type NotStarted = {
  readonly end: 'not_found' | 'not_started'
  readonly message: string
  readonly shortage?: string
}
type StopCause = 'timed_out' | 'out_of_memory' | 'too_much_output' | 'aborted'

/** Half of the memory of the machine or its container, and more than any test suite prints. */
export const DEFAULT_LIMITS: CommandLimits = {
  memoryBytes: Math.floor(Math.min(totalmem(), process.constrainedMemory() || totalmem()) / 2),
  outputBytes: 512 * 1024 * 1024,
}

/** Makes what runs commands, each in a process group of its own; see the type for what holds. */
export const commandRunner =
  (limits: CommandLimits): RunCommand =>
  (command) =>
    run(command, limits)

/** With the limits of a server that names none. */
export const runCommand: RunCommand = commandRunner(DEFAULT_LIMITS)

async function run(command: Command, limits: CommandLimits): Promise<CommandResult> {
  const begun = performance.now()
  const durationMs = (): number => Math.round(performance.now() - begun)
  if (command.signal.aborted) return notRun('aborted', '', durationMs())
  startReaper()
  const mark = newMark()
  const started = await start(command, mark)
  if (started.isErr()) {
    const { end, message, ...shortage } = started.error
    return { ...notRun(end, message, durationMs()), ...shortage }
  }
  const { child, pid, exited } = started.value
  const { promise: overLimit, resolve: exceed } = Promise.withResolvers<StopCause>()
  const output = collectOutput(child, command.maxBytes ?? DEFAULT_MAX_BYTES, {
    mostBytes: limits.outputBytes,
    onTooMuch: () => exceed('too_much_output'),
  })
  const memoryBytes = Math.min(limits.memoryBytes, command.maxMemoryBytes ?? limits.memoryBytes)
  const watched = { pid, mark: entryOf(mark), maxBytes: memoryBytes }
  const stopWatching = watchMemory(watched, () => exceed('out_of_memory'))
  const end = await untilEnded({ ...started.value, overLimit }, command, mark)
  stopWatching()
  const exitCode = end === 'exited' ? await exited : null
  if (!(await settledWithin(output.closed, DRAIN_MS))) {
    // Whatever lies ready is read before a pipe that somebody still holds is given up.
    await setImmediate()
    child.stdout.destroy()
    child.stderr.destroy()
    await output.closed
  }
  const limitBytes = { out_of_memory: memoryBytes, too_much_output: limits.outputBytes }
  return {
    end,
    ...(end === 'out_of_memory' || end === 'too_much_output'
      ? { limitBytes: limitBytes[end] }
      : {}),
    exitCode,
    stdout: output.stdout.text(),
    stderr: output.stderr.text(),
    output: output.both.text(),
    bytes: output.bytes(),
    durationMs: durationMs(),
  }
}

function notRun(end: CommandResult['end'], message: string, durationMs: number): CommandResult {
  const bytes = Buffer.byteLength(message)
  return { end, exitCode: null, stdout: '', stderr: message, output: message, bytes, durationMs }
}

async function start(
  { file, args, cwd, env }: Command,
  mark: Readonly<Record<string, string>>,
): Promise<Result<Started, NotStarted>> {
  try {
    const child = spawn(file, args, {
      cwd,
      env: commandEnvironment(process.env, { ...env, ...mark }),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exited = new Promise<number>((resolve) => {
      child.once('exit', (code, signal) => {
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
      })
    })
    await once(child, 'spawn')
    child.on('error', () => {})
    const { pid } = child
    if (pid === undefined) return err({ end: 'not_started', message: `${file} has no process id` })
    // Where the memory of the machine runs out, the kernel ends commands before it ends the server.
    void writeFile(`/proc/${pid}/oom_score_adj`, '500').catch(() => {})
    return ok({ child, pid, exited })
  } catch (cause) {
    return err(await whyNotStarted(file, cwd, cause))
  }
}

async function whyNotStarted(file: string, cwd: string, cause: unknown): Promise<NotStarted> {
  const message = messageOf(cause)
  const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
  if (!missing) {
    const shortage = shortageOf(cause)
    return {
      end: 'not_started',
      message: `${file} cannot be started: ${message}`,
      ...(shortage === null ? {} : { shortage }),
    }
  }
  // The same code stands for a missing program and for a missing folder to run it in.
  const folder = await stat(cwd).catch(() => null)
  return folder?.isDirectory()
    ? { end: 'not_found', message: `The program ${file} is not found` }
    : { end: 'not_started', message: `${file} cannot be started: there is no folder ${cwd}` }
}

/** Waits for the end of the child, makes it end where it must, and kills all that is left of it. */
async function untilEnded(
  { pid, exited, overLimit }: Started & { readonly overLimit: Promise<StopCause> },
  command: Command,
  mark: ReturnType<typeof newMark>,
): Promise<'exited' | StopCause> {
  const end = await exitOrStop(exited, overLimit, command)
  // What takes more and more memory is given no time to take still more.
  if (end !== 'exited' && end !== 'out_of_memory') {
    sendSignal(-pid, 'SIGTERM')
    await signalMarked(mark, 'SIGTERM')
    const killAt = performance.now() + GRACE_MS
    while (sendSignal(-pid, 0) && performance.now() < killAt) await pause(POLL_MS)
  }
  sendSignal(-pid, 'SIGKILL')
  await killMarked(mark)
  await settledWithin(exited, REAP_MS)
  return end
}

/** What comes first: the exit of the child, one of its limits or the abort of its run. */
function exitOrStop(
  exited: Promise<number>,
  overLimit: Promise<StopCause>,
  { timeoutMs, signal }: Command,
): Promise<'exited' | StopCause> {
  return new Promise((resolve) => {
    const settle = (end: 'exited' | StopCause) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      resolve(end)
    }
    const onAbort = () => settle('aborted')
    const timer = setTimeout(() => settle('timed_out'), Math.min(timeoutMs, MAX_TIMER_MS))
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    void exited.then(() => settle('exited'))
    void overLimit.then(settle)
  })
}

/** Whether a promise, which never rejects, settles in time. */
async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const late = pause(ms, false, { signal: timer.signal }).catch(() => false)
  const inTime = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return inTime
}
