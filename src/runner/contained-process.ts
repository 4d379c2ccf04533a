import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Duplex, Readable } from 'node:stream'
import { messageOf } from '../lib/message-of.ts'
import { Semaphore } from '../lib/semaphore.ts'
import { REAP_MS, type Started, settledWithin, spawned, untilClosed, untilExit } from './child.ts'
import type { CommandGroup } from './command-group.ts'
import { container, GATE, GATE_FD, STATUS_FD } from './isolation/bubblewrap.ts'
import type { Sandbox } from './isolation/sandbox.ts'
import { killContainer, newContainerMark } from './left-containers.ts'
import { namespaceOf, processNames } from './process-watch.ts'
import type { StartRequest } from './protocol.ts'
import { sendSignal } from './stragglers.ts'

/** Time for the pipes of a container to close after its bwrap has ended by itself. */
const CLOSED_MS = 1_000
const KILLED_EARLY = 'The command was not started: the process that makes its container was killed'

/**
 * How many containers are made at once. Making one keeps a processor busy like a short command, so more of them
 * would not be ready earlier, and would keep everything else on the machine waiting.
 */
const making = new Semaphore(2 * availableParallelism())
/** One that takes longer than this, such as on a slow disk, does not keep others waiting. */
const MAKING_MS = 2_000

/** Waits until a container may be made. Null if `signal` aborts before. Call the result when it is made. */
async function turnToMake(sandbox: Sandbox, signal: AbortSignal): Promise<(() => void) | null> {
  const release = await making.acquire(signal, sandbox.own?.home ?? sandbox.project)
  if (release === null) return null
  let isOver = false
  const end = (): void => {
    clearTimeout(timer)
    if (!isOver) release()
    isOver = true
  }
  const timer = setTimeout(end, MAKING_MS)
  return end
}

/** Starts a command in a container, whose end is the end of all in it. Null if `signal` aborts before it is made. */
export async function startContained(
  request: StartRequest,
  sandbox: Sandbox,
  group: CommandGroup | null,
  signal: AbortSignal,
): Promise<Started | null> {
  const onMade = await turnToMake(sandbox, signal)
  if (onMade === null) return null
  try {
    return await makeContainer(request, sandbox, group, onMade)
  } catch (cause) {
    onMade()
    throw cause
  }
}

async function makeContainer(
  { file, args, cwd, env, limits, hasInput = false }: StartRequest,
  sandbox: Sandbox,
  group: CommandGroup | null,
  onMade: () => void,
): Promise<Started> {
  const { processes } = limits
  const mark = newContainerMark()
  const contained = container(sandbox, [file, ...args], { env, cwd, processes, mark })
  const { args: all, descriptors, facts } = contained
  let child: ChildProcess
  try {
    const [launcher = '', ...before] = [...sandbox.enter, sandbox.launcher]
    child = spawn(launcher, [...before, ...all], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: [
        hasInput ? 'pipe' : 'ignore',
        ...(['pipe', 'pipe', 'pipe', 'pipe'] as const),
        ...descriptors,
      ],
    })
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor)
  }
  const { stdin, stdout, stderr } = child
  if (stdout === null || stderr === null) throw await failureOf(child)
  const exit = untilExit(child)
  const pipes: readonly unknown[] = child.stdio
  const gate = pipes[GATE_FD] as Duplex
  const reported = textOf(gate)
  const status = textOf(pipes[STATUS_FD] as Readable)
  const pid = await spawned(child)
  const init = (): number | null => numberIn(status.soFar(), 'child-pid')
  const lives = (): boolean => child.exitCode === null && child.signalCode === null
  let hasBegun = false
  let refused: string | null = null
  const begin = (): void => {
    const first = init()
    const isReady = reported.soFar().includes(GATE.ready) && first !== null
    if (!isReady || hasBegun || refused !== null || !lives()) return
    try {
      if (group !== null) for (const one of [pid, ...processesWith(first)]) group.add(one)
      hasBegun = true
      gate.write('begin\n')
      onMade()
    } catch (cause) {
      refused = `The command was not started, because it has no control group: ${messageOf(cause)}`
      gate.destroy()
    }
  }
  gate.on('error', () => {})
  for (const pipe of [reported, status]) pipe.onText(begin)
  let namespace: string | null = null
  return {
    ...{ stdin, stdout, stderr, pid, facts, group, lives, mark: null },
    exited: exit.then(async () => {
      onMade()
      const closed = Promise.all([reported.closed, status.closed])
      // Without its bwrap, a container may wait for ever, with all pipes open.
      const isLeft = child.signalCode !== null || !(await settledWithin(closed, CLOSED_MS))
      if (isLeft) await killContainer(mark)
      await settledWithin(closed, REAP_MS)
      const exitCode = numberIn(status.soFar(), 'exit-code')
      if (refused !== null) return { end: 'not_started', message: refused }
      if (reported.soFar().includes(GATE.notFound)) {
        return { end: 'not_found', message: `The program ${file} is not found` }
      }
      // Somebody killed bwrap, such as the kernel for lack of memory, and all that was in the container with it.
      if (exitCode === null && hasBegun) return { end: 'lost' }
      if (exitCode === null && child.signalCode !== null) {
        return { end: 'not_started', message: KILLED_EARLY }
      }
      // bwrap itself failed. What it printed is the output of the call.
      if (exitCode === null) return { end: 'not_isolated', message: '' }
      return { end: 'exited', exitCode }
    }),
    namespace: () => {
      const of = init()
      if (namespace === null && of !== null) namespace = namespaceOf(of)
      return namespace
    },
    terminate: () => {
      const of = init()
      if (of !== null && lives()) sendSignal(-of, 'SIGTERM')
    },
    kill: async () => {
      if (!lives()) return
      // bwrap ends when everything in the container is dead. Killed with it, it would end before.
      const of = init()
      sendSignal(of ?? pid, 'SIGKILL')
      if (!(await settledWithin(exit, REAP_MS))) sendSignal(pid, 'SIGKILL')
    },
  }
}

/** What is in a container before its command begins: process 1 and, unless that is the shell at the gate, the shell. */
function processesWith(first: number): number[] {
  try {
    const children = readFileSync(`/proc/${first}/task/${first}/children`, 'utf8')
    return [first, ...children.split(' ').filter(Boolean).map(Number)]
  } catch {
    // The kernel may have no such lists.
    const inside = namespaceOf(first)
    const all = processNames().map(Number).filter(Number.isInteger)
    return [first, ...all.filter((one) => inside !== null && namespaceOf(one) === inside)]
  }
}

/** What a pipe has brought; it is small. */
type PipeText = {
  readonly soFar: () => string
  readonly onText: (listener: () => void) => void
  readonly closed: Promise<void>
}

function textOf(pipe: Readable): PipeText {
  let text = ''
  pipe.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  return {
    soFar: () => text,
    onText: (listener) => pipe.on('data', listener),
    closed: untilClosed(pipe),
  }
}

/** A member of the JSON documents that bwrap reports. */
function numberIn(status: string, name: 'child-pid' | 'exit-code'): number | null {
  const found = new RegExp(`"${name}": (\\d+)`).exec(status)?.[1]
  return found === undefined ? null : Number(found)
}

/** The error of a process that could not be started. */
const failureOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) => child.once('error', resolve))
