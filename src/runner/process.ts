import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { messageOf } from '../lib/message-of.ts'
import { shortageOf } from './command.ts'
import { watchMemory } from './memory-watch.ts'
import type { CallEnd, NotStarted, StartRequest, StopCause } from './protocol.ts'
import {
  entryOf,
  killMarked,
  newMark,
  sendSignal,
  signalMarked,
  startReaper,
} from './stragglers.ts'

/** Time between SIGTERM and SIGKILL. An abort stops everything within a second, even what ignores SIGTERM. */
export const GRACE_MS = 400
/** Time to read what is still in the pipes after all that could write to them was killed. */
const DRAIN_MS = 1_000
/** Time for the kernel to end a killed child. One that hangs in a device never ends. */
const REAP_MS = 5_000
const POLL_MS = 20
/** The longest timer of Node. */
const MAX_TIMER_MS = 2 ** 31 - 1

type Child = ChildProcessByStdio<null, Readable, Readable>
type Started = {
  readonly child: Child
  readonly pid: number
  readonly exited: Promise<number>
}

/** What the caller does with a process. */
export type ProcessIo = {
  /** Called once, before any output. `streams` end when nothing writes to them any more. */
  readonly onStarted: (streams: { readonly stdout: Readable; readonly stderr: Readable }) => void
  /** Called when no process of the command is alive: little is left in the pipes. */
  readonly onDead: () => void
  /** Resolves when the server stops the command. */
  readonly stopped: Promise<StopCause>
}

/** Runs a command in a process group of its own, to its end. When it resolves, no process of the command is alive. */
export async function runProcess(request: StartRequest, io: ProcessIo): Promise<CallEnd> {
  startReaper()
  const mark = newMark()
  const started = await start(request, mark)
  if ('end' in started) return started
  const { child, pid, exited } = started
  const closed = Promise.all([child.stdout, child.stderr].map(untilClosed))
  io.onStarted(child)
  const { promise: outOfMemory, resolve: exceed } = Promise.withResolvers<StopCause>()
  const unwatch = watchMemory({
    pid,
    mark: entryOf(mark),
    maxBytes: request.memoryBytes,
    onTooMuch: () => exceed('out_of_memory'),
  })
  const stopped = Promise.race([io.stopped, outOfMemory])
  const end = await untilEnded({ pid, exited, stopped }, request.timeoutMs, mark)
  unwatch()
  io.onDead()
  const exitCode = end === 'exited' ? await exited : 0
  if (!(await settledWithin(closed, DRAIN_MS))) {
    // A process that was not found may hold a pipe open: what is in it is read before it is closed.
    await setImmediate()
    child.stdout.destroy()
    child.stderr.destroy()
    await closed
  }
  return end === 'exited' ? { end, exitCode } : { end }
}

const untilClosed = (stream: Readable): Promise<void> =>
  new Promise((resolve) => {
    stream.on('error', () => {})
    stream.once('close', resolve)
  })

async function start(
  { file, args, cwd, env }: StartRequest,
  mark: Readonly<Record<string, string>>,
): Promise<Started | NotStarted> {
  try {
    const child = spawn(file, args, {
      cwd,
      env: { ...env, ...mark },
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
    if (pid === undefined) return { end: 'not_started', message: `${file} has no process id` }
    // If the machine runs out of memory, the kernel ends commands before it ends the server.
    void writeFile(`/proc/${pid}/oom_score_adj`, '500').catch(() => {})
    return { child, pid, exited }
  } catch (cause) {
    return whyNotStarted(file, cwd, cause)
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
  // A missing program and a missing folder have the same code.
  const folder = await stat(cwd).catch(() => null)
  return folder?.isDirectory()
    ? { end: 'not_found', message: `The program ${file} is not found` }
    : { end: 'not_started', message: `${file} cannot be started: there is no folder ${cwd}` }
}

/** Waits until the child ends or must be stopped, and then kills all that is left of it. */
async function untilEnded(
  { pid, exited, stopped }: Omit<Started, 'child'> & { readonly stopped: Promise<StopCause> },
  timeoutMs: number,
  mark: ReturnType<typeof newMark>,
): Promise<'exited' | StopCause> {
  const end = await exitOrStop(exited, stopped, timeoutMs)
  // A command that uses too much memory gets no time to use still more.
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

/** Which comes first: the exit of the child, its time limit or a stop. */
async function exitOrStop(
  exited: Promise<number>,
  stopped: Promise<StopCause>,
  timeoutMs: number,
): Promise<'exited' | StopCause> {
  const { promise: late, resolve } = Promise.withResolvers<StopCause>()
  const timer = setTimeout(resolve, Math.min(timeoutMs, MAX_TIMER_MS), 'timed_out')
  const end = await Promise.race([exited.then(() => 'exited' as const), stopped, late])
  clearTimeout(timer)
  return end
}

/** Whether a promise, which never rejects, settles in time. */
async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const late = pause(ms, false, { signal: timer.signal }).catch(() => false)
  const inTime = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return inTime
}
