import { type ChildProcess, execFile } from 'node:child_process'
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
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { throwIfShort } from '../lib/shortage.ts'
import { spawned } from './child.ts'
import { O_PATH } from './isolation/mounts.ts'

/** What a child is given for one of its outputs; `pipe` is a pair of sockets. */
type Output = number | 'pipe'
type Pipe = { readonly reader: Socket; readonly writer: number }

export type Outputs = {
  /**
   * Whether its pipes are used again after their end. Not if a process that outlives it could keep one of them, and had
   * fewer rights than the next process.
   */
  readonly areReused: boolean
}

/** A process that was started, and what it prints. */
export type Printing = {
  readonly child: ChildProcess
  readonly pid: number
  readonly stdout: Readable
  readonly stderr: Readable
}

/**
 * Starts a process whose outputs are real pipes: Node makes pairs of sockets, and nothing can open `/dev/stdout` or
 * `/dev/stderr` if that is a socket. Where no pipes can be made, it gets sockets. Rejects as `spawned` does.
 * @param start spawns the process with these outputs
 */
export async function startPrinting(
  { areReused }: Outputs,
  start: (outputs: readonly [Output, Output]) => ChildProcess,
): Promise<Printing> {
  const pipes: (Pipe | null)[] = []
  try {
    if (await hasPipes()) for (let side = 0; side < 2; side += 1) pipes.push(takePipe(areReused))
    const [first = null, second = null] = pipes
    const child = start([first?.writer ?? 'pipe', second?.writer ?? 'pipe'])
    const pid = await spawned(child)
    const [stdout, stderr] = [first?.reader ?? child.stdout, second?.reader ?? child.stderr]
    if (stdout === null || stderr === null) throw new Error('it has no pipes')
    return { child, pid, stdout, stderr }
  } catch (cause) {
    for (const pipe of pipes) pipe?.reader.destroy()
    throw cause
  } finally {
    for (const pipe of pipes) if (pipe !== null) closeSync(pipe.writer)
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
    return { reader, writer }
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
