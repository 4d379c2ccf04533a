import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { promisify } from 'node:util'
import { throwIfShort } from '../lib/shortage.ts'
import { spawned } from './child.ts'
import { O_PATH } from './isolation/mounts.ts'

/** What a child is given for a standard stream; `pipe` is a pair of sockets. */
type End = number | 'pipe' | 'ignore'
/** A pipe: the stream of this process, and the descriptor of the child. */
type Pipe = { readonly own: Socket; readonly end: number }

export type Wanted = {
  /** Whether it has an input; otherwise it reads the end of the file at once. */
  readonly hasInput: boolean
  /**
   * Whether the pipes of its outputs are used again after their end. Not if a process that outlives it could keep one of
   * them, and had fewer rights than the next process.
   */
  readonly areReused: boolean
}

/** A process that was started, and its standard streams. */
export type Piped = {
  readonly child: ChildProcess
  readonly pid: number
  /** Null if it has no input. */
  readonly stdin: Writable | null
  readonly stdout: Readable
  readonly stderr: Readable
}

/**
 * Starts a process whose standard streams are real pipes: Node makes pairs of sockets, and nothing can open `/dev/stdin`,
 * `/dev/stdout` or `/dev/stderr` if that is a socket. Where no pipes can be made, it gets sockets. Rejects as `spawned` does.
 * @param start spawns the process with these streams
 */
export async function startPiped(
  { hasInput, areReused }: Wanted,
  start: (stdio: readonly [End, End, End]) => ChildProcess,
): Promise<Piped> {
  const pipes: (Pipe | null)[] = []
  try {
    const input = hasInput ? await inputPipe() : null
    pipes.push(input)
    if (await hasPipes()) for (let side = 0; side < 2; side += 1) pipes.push(takePipe(areReused))
    const [, first = null, second = null] = pipes
    const stdin = input?.end ?? (hasInput ? 'pipe' : 'ignore')
    const child = start([stdin, first?.end ?? 'pipe', second?.end ?? 'pipe'])
    const pid = await spawned(child)
    const [stdout, stderr] = [first?.own ?? child.stdout, second?.own ?? child.stderr]
    if (stdout === null || stderr === null) throw new Error('it has no pipes')
    return { child, pid, stdin: input?.own ?? child.stdin, stdout, stderr }
  } catch (cause) {
    for (const pipe of pipes) pipe?.own.destroy()
    throw cause
  } finally {
    for (const pipe of pipes) if (pipe !== null) closeSync(pipe.end)
  }
}

/** The inner shell prints its number, and keeps a pipe open at this descriptor until its input ends. */
const HELD_FD = 4
const HOLD = `exec 3<&0; : | /bin/sh -c 'exec ${HELD_FD}<&0 <&3; echo $$; read -r _'`

/**
 * A pipe for an input; null if none can be made. The kernel has made it without a name: one of `mkfifo` cannot be opened
 * when nothing writes to it any more, so a program that opens `/dev/stdin` after the end of its input would wait for ever.
 */
async function inputPipe(): Promise<Pipe | null> {
  if (process.platform !== 'linux') return null
  const stdio = ['pipe', 'pipe', 'ignore'] as const
  const holder = spawn('/bin/sh', ['-c', HOLD], { env: PATH, stdio: [...stdio] })
  let pipe: number | null = null
  try {
    await spawned(holder)
    const [printed] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'close')])
    pipe = openSync(`/proc/${Number(printed)}/fd/${HELD_FD}`, O_PATH)
    return openInput(`/proc/self/fd/${pipe}`)
  } catch (cause) {
    throwIfShort(cause)
    return null
  } finally {
    if (pipe !== null) closeSync(pipe)
    holder.stdin?.destroy()
  }
}

/** @param path of a pipe without a name, of which neither end waits for the other */
function openInput(path: string): Pipe {
  const end = openSync(path, constants.O_RDONLY)
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
    const own = new Socket({ fd, readable: false, writable: true })
    // A command with another user must be able to open its input, and none may write to it.
    fchmodSync(end, 0o444)
    return { own, end }
  } catch (cause) {
    closeSync(end)
    throw cause
  }
}

/** How many pipes are made at once, because a program has to make them; fewer if few files can be open. */
const [MANY, FEW] = [64, 8] as const
const MANY_FILES = 4096
/** Those that are made: descriptors with which they can be opened. */
const made: number[] = []
let canBeMade = process.platform === 'linux'
let making: Promise<void> | null = null

/** Whether the next process gets real pipes. */
export async function hasPipes(): Promise<boolean> {
  while (made.length < 2 && canBeMade) await makePipes()
  if (made.length < batchSize() / 4 && canBeMade) makePipes().catch(() => {})
  return made.length >= 2
}

function makePipes(): Promise<void> {
  making ??= addPipes().finally(() => {
    making = null
  })
  return making
}

function takePipe(isReused: boolean): Pipe | null {
  const pipe = made.pop()
  if (pipe === undefined) return null
  const path = `/proc/self/fd/${pipe}`
  let reader: Socket | null = null
  try {
    chmodSync(path, 0o600)
    const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    reader = new Socket({ fd: read, readable: true, writable: false })
    reader.once('close', () => {
      if (isReused && reader?.readableEnded) made.push(pipe)
      else closeSync(pipe)
    })
    const writer = openSync(path, constants.O_WRONLY)
    // A command with another user must be able to open what it has as its output, and none may read it.
    fchmodSync(writer, 0o222)
    return { own: reader, end: writer }
  } catch (cause) {
    if (reader === null) closeSync(pipe)
    else reader.destroy()
    throw cause
  }
}

/** Node has no function for it. Nothing is left in the file system: each pipe is held when its name is removed. */
async function addPipes(): Promise<void> {
  const folder = mkdtempSync(join(existsSync(IN_MEMORY) ? IN_MEMORY : tmpdir(), 'retrai-pipes-'))
  try {
    const names = Array.from({ length: batchSize() }, (_, n) => join(folder, `${n}`))
    await promisify(execFile)('mkfifo', ['-m', '600', ...names], { env: PATH })
    for (const name of names) made.push(openSync(name, O_PATH))
  } catch (cause) {
    if (made.length >= 2) return
    throwIfShort(cause)
    canBeMade = false
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** On a disk, it takes several times as long. */
const IN_MEMORY = '/dev/shm'
const PATH = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

let size: number | null = null
function batchSize(): number {
  size ??= filesAtOnce() >= MANY_FILES ? MANY : FEW
  return size
}

function filesAtOnce(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
}
