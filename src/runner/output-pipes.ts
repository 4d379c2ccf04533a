import { type ChildProcess, execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  fchmodSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  unlinkSync,
} from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { throwIfShort } from '../lib/shortage.ts'
import { spawned } from './child.ts'

/** What a child is given for one of its outputs; `pipe` is a pair of sockets. */
type Output = number | 'pipe'
type Pipe = { readonly reader: Socket; readonly writer: number }

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
  start: (outputs: readonly [Output, Output]) => ChildProcess,
): Promise<Printing> {
  const pipes: (Pipe | null)[] = []
  try {
    if (hasPipes()) for (let side = 0; side < 2; side += 1) pipes.push(takePipe())
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
/** Those that are made, each open in both directions. */
const made: number[] = []
let canBeMade = process.platform === 'linux'

/** Whether the next process gets real pipes. */
export function hasPipes(): boolean {
  if (made.length < 2 && canBeMade) makePipes()
  return made.length >= 2
}

function takePipe(): Pipe | null {
  const both = made.pop()
  if (both === undefined) return null
  try {
    const path = `/proc/self/fd/${both}`
    const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const writer = openSync(path, constants.O_WRONLY)
      // A command with another user must be able to open what it has as its output, and none may read it.
      fchmodSync(writer, 0o222)
      return { reader: new Socket({ fd: read, readable: true, writable: false }), writer }
    } catch (cause) {
      closeSync(read)
      throw cause
    }
  } finally {
    closeSync(both)
  }
}

/** Node has no function for it. Nothing is left in the file system: each pipe is open when its name is removed. */
function makePipes(): void {
  const folder = mkdtempSync(join(tmpdir(), 'retrai-pipes-'))
  try {
    const names = Array.from({ length: batchSize() }, (_, n) => join(folder, `${n}`))
    execFileSync('mkfifo', ['-m', '600', ...names], { stdio: 'ignore', env: PATH })
    for (const name of names) {
      made.push(openSync(name, constants.O_RDWR | constants.O_NONBLOCK))
      unlinkSync(name)
    }
  } catch (cause) {
    if (made.length > 0) return
    throwIfShort(cause)
    canBeMade = false
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const PATH = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

function batchSize(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  const limit = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
  return limit >= MANY_FILES ? MANY : FEW
}
