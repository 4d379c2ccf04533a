import { isUtf8 } from 'node:buffer'
import type { ChildProcess } from 'node:child_process'
import { closeSync, constants, fchmodSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import os from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { within } from '../../lib/promises.ts'
import type { PolicyFacts } from '../../sandbox/sandbox.ts'
import { hold, spawned } from '../../sandbox/system.ts'
import type { CommandGroup } from '../processes.ts'
import {
  CRASH_SIGNALS,
  type CrashMoment,
  type Ended,
  MAX_REPORT_BYTES,
  type RunnerCrash,
} from '../protocol.ts'

/** Time for the kernel to end a killed process. One that hangs in a device never ends. */
export const REAP_MS = 5_000

/** The exit code of a process; 128 + n if signal n ended it. */
export const untilExit = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : os.constants.signals[signal]))
    })
  })

/** Resolves when nothing more comes from a stream. Never rejects. */
export const untilClosed = (stream: Readable): Promise<void> =>
  new Promise((resolve) => {
    stream.on('error', () => {})
    stream.once('close', resolve)
  })

/** Whether a promise, which never rejects, settles in time. */
export const settledWithin = (promise: Promise<unknown>, ms: number): Promise<boolean> =>
  within(
    ms,
    promise.then(() => true),
    () => false,
  )

/** A pipe: the stream of this process, and the descriptor of the child. */
type Pipe = { readonly own: Socket; readonly end: number }

/** A process that was started, and its standard streams. */
type Piped = {
  readonly child: ChildProcess
  readonly pid: number
  /** Null if it has no input. */
  readonly stdin: Writable | null
  readonly stdout: Readable
  readonly stderr: Readable
}

/** A process with everything that it starts. */
export type Started = Omit<Piped, 'child' | 'pid'> & {
  /** How it ended by itself. */
  readonly exited: Promise<Ended>
  /** What it reported, after its end. */
  readonly report: () => Promise<string | null>
  /** How it is isolated; null if it is not. */
  readonly facts: PolicyFacts | null
  /** Its control group; null if it has none. */
  readonly group: CommandGroup | null
  /** All that live. Throws if this process is short of something. */
  readonly pids: () => readonly number[]
  /** Asks it to end. */
  readonly terminate: () => void
  /** Whether the processes that `terminate` reaches still live. */
  readonly lives: () => boolean
  /** Kills everything of it. */
  readonly kill: () => Promise<void>
}

/**
 * Starts a process whose standard streams are real pipes on Linux: Node makes pairs of sockets, and nothing can open `/dev/stdin`,
 * `/dev/stdout` or `/dev/stderr` if that is a socket. Rejects as `spawned` does.
 * @param hasInput otherwise it reads the end of the file at once
 * @param start spawns the process with these streams
 */
export async function startPiped(
  hasInput: boolean,
  start: (stdio: (number | 'pipe' | 'ignore')[]) => ChildProcess,
): Promise<Piped> {
  const pipes = process.platform === 'linux' ? await openPipes(hasInput ? 3 : 2) : []
  const [output, errors, input] = pipes
  try {
    const stdin = input?.end ?? (hasInput ? 'pipe' : 'ignore')
    const child = start([stdin, output?.end ?? 'pipe', errors?.end ?? 'pipe'])
    const pid = await spawned(child)
    const [stdout, stderr] = [output?.own ?? child.stdout, errors?.own ?? child.stderr]
    if (stdout === null || stderr === null) throw new Error('it has no pipes')
    return { child, pid, stdin: input?.own ?? child.stdin, stdout, stderr }
  } catch (cause) {
    for (const { own } of pipes) own.destroy()
    throw cause
  } finally {
    for (const { end } of pipes) closeSync(end)
  }
}

/** The descriptors at which a shell keeps pipes that the kernel has made without names. */
const HELD = [4, 5, 6]

/** A shell in a shell for each pipe: the innermost has all of them, and prints its number. */
const holdPipes = (descriptors: readonly number[]): string =>
  descriptors.reduceRight(
    (inner, descriptor) => `: | (exec ${descriptor}<&0; ${inner})`,
    'exec <&3; read -r pid _ </proc/self/stat; echo $pid; read -r _',
  )

/**
 * Pipes for two outputs and perhaps an input. Node has no function for it. One of `mkfifo` would do only for an output: it cannot be
 * opened when nothing writes to it any more, so a program that opens `/dev/stdin` after the end of its input would wait for ever.
 */
async function openPipes(count: 2 | 3): Promise<Pipe[]> {
  const held = HELD.slice(0, count)
  const holder = await hold(['/bin/sh', '-c', `exec 3<&0; ${holdPipes(held)}`])
  const pipes: Pipe[] = []
  try {
    for (const descriptor of held) {
      pipes.push(openPipe(`/proc/${holder.pid}/fd/${descriptor}`, pipes.length < 2))
    }
    return pipes
  } catch (cause) {
    for (const { own, end } of pipes) {
      own.destroy()
      closeSync(end)
    }
    throw cause
  } finally {
    holder.release()
  }
}

/** @param path of a pipe of which neither end waits for the other */
function openPipe(path: string, isOutput: boolean): Pipe {
  const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants
  const end = openSync(path, isOutput ? O_WRONLY : O_RDONLY)
  try {
    const fd = openSync(path, (isOutput ? O_RDONLY : O_WRONLY) | O_NONBLOCK)
    const own = new Socket({ fd, readable: isOutput, writable: !isOutput })
    // A command with another user must be able to open what it has, and only in its direction.
    fchmodSync(end, isOutput ? 0o222 : 0o444)
    return { own, end }
  } catch (cause) {
    closeSync(end)
    throw cause
  }
}

export type PipeText = ReturnType<typeof pipeText>

/** What a pipe has brought, each byte as a character; what is more than a report can have is dropped. */
export function pipeText(pipe: Readable) {
  let text = ''
  pipe.setEncoding('latin1').on('data', (piece: string) => {
    if (text.length <= MAX_REPORT_BYTES) text += piece
  })
  return {
    soFar: () => text,
    onText: (listener: () => void) => pipe.on('data', listener),
    closed: untilClosed(pipe),
    destroy: () => pipe.destroy(),
  }
}

/** The report in a pipe, after the text `before`; null if it is missing, too long or not UTF-8. */
export function reportIn(pipe: PipeText, before = ''): string | null {
  const text = pipe.soFar()
  if (!text.startsWith(before) || text.length > MAX_REPORT_BYTES) return null
  const bytes = Buffer.from(text.slice(before.length), 'latin1')
  return bytes.length > 0 && isUtf8(bytes) ? bytes.toString() : null
}

let armed: RunnerCrash | null = null

/** Lets this process die or stop when it reaches the moment next. */
export function armCrash(crash: RunnerCrash): void {
  armed = crash
}

/** Called at each moment. Does nothing without a test. */
export function reach(moment: CrashMoment): void {
  if (armed?.moment !== moment) return
  const signal = CRASH_SIGNALS[armed.how]
  armed = null
  process.kill(process.pid, signal)
}
