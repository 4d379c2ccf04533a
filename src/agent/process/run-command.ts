import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import { collectOutput } from './collect-output.ts'
import type { Command, CommandResult, RunCommand } from './command.ts'
import { DEFAULT_MAX_BYTES } from './command.ts'
import { commandEnvironment } from './environment.ts'
import { startReaper } from './reaper.ts'
import { killMarked, newMark, sendSignal, signalMarked } from './stragglers.ts'

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
type NotStarted = { readonly end: 'not_found' | 'not_started'; readonly message: string }
type StopCause = 'timed_out' | 'aborted'

/** Runs a command in a process group of its own; see the type for what holds. */
export const runCommand: RunCommand = async (command) => {
  const begun = performance.now()
  const durationMs = (): number => Math.round(performance.now() - begun)
  if (command.signal.aborted) return notRun('aborted', '', durationMs())
  startReaper()
  const mark = newMark()
  const started = await start(command, mark)
  if (started.isErr()) return notRun(started.error.end, started.error.message, durationMs())
  const { child, exited } = started.value
  const output = collectOutput(child, command.maxBytes ?? DEFAULT_MAX_BYTES)
  const end = await untilEnded(started.value, command, mark)
  const exitCode = end === 'exited' ? await exited : null
  if (!(await settledWithin(output.closed, DRAIN_MS))) {
    // Whatever lies ready is read before a pipe that somebody still holds is given up.
    await setImmediate()
    child.stdout.destroy()
    child.stderr.destroy()
    await output.closed
  }
  return {
    end,
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
    return ok({ child, pid, exited })
  } catch (cause) {
    return err(await whyNotStarted(file, cwd, cause))
  }
}

async function whyNotStarted(file: string, cwd: string, cause: unknown): Promise<NotStarted> {
  const message = cause instanceof Error ? cause.message : String(cause)
  const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
  if (!missing) return { end: 'not_started', message: `${file} cannot be started: ${message}` }
  // The same code stands for a missing program and for a missing folder to run it in.
  const folder = await stat(cwd).catch(() => null)
  return folder?.isDirectory()
    ? { end: 'not_found', message: `The program ${file} is not found` }
    : { end: 'not_started', message: `${file} cannot be started: there is no folder ${cwd}` }
}

/** Waits for the end of the child, makes it end where it must, and kills all that is left of it. */
async function untilEnded(
  { pid, exited }: Started,
  command: Command,
  mark: ReturnType<typeof newMark>,
): Promise<'exited' | StopCause> {
  const end = await exitOrStop(exited, command)
  if (end !== 'exited') {
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

/** What comes first: the exit of the child, its time limit or the abort of its run. */
function exitOrStop(
  exited: Promise<number>,
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
