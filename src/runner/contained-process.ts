import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Duplex, Readable } from 'node:stream'
import { messageOf } from '../lib/message-of.ts'
import { Semaphore } from '../lib/semaphore.ts'
import { REAP_MS, type Started, settledWithin, spawned, untilClosed, untilExit } from './child.ts'
import type { CommandGroup } from './command-group.ts'
import { sessionGivesWay } from './helper-process.ts'
import { type Container, container, GATE, GATE_FD, STATUS_FD } from './isolation/bubblewrap.ts'
import type { Sandbox } from './isolation/sandbox.ts'
import { killContainer, newContainerMark } from './left-containers.ts'
import { namespaceOf, processNames } from './process-watch.ts'
import type { Ended, StartRequest } from './protocol.ts'
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
  const made = container(sandbox, [file, ...args], { env, cwd, processes, mark })
  const child = launch(sandbox, made, hasInput)
  const { stdin, stdout, stderr } = child
  if (stdout === null || stderr === null) throw await failureOf(child)
  const exit = untilExit(child)
  const gate = new Gate(child)
  const pid = await spawned(child)
  gate.openWhenReady((first) => {
    sessionGivesWay(first)
    if (group !== null) for (const one of [pid, ...processesWith(first)]) group.add(one)
    onMade()
  })
  let namespace: string | null = null
  return {
    ...{ stdin, stdout, stderr, pid, group, facts: made.facts, lives: gate.lives, mark: null },
    exited: exit.then(() => {
      onMade()
      return gate.end(file, mark)
    }),
    namespace: () => {
      const { init } = gate
      if (namespace === null && init !== null) namespace = namespaceOf(init)
      return namespace
    },
    terminate: () => {
      const { init } = gate
      if (init !== null && gate.lives()) sendSignal(-init, 'SIGTERM')
    },
    kill: async () => {
      if (!gate.lives()) return
      // bwrap ends when everything in the container is dead. Killed with it, it would end before.
      sendSignal(gate.init ?? pid, 'SIGKILL')
      if (!(await settledWithin(exit, REAP_MS))) sendSignal(pid, 'SIGKILL')
    },
  }
}

/** Starts bwrap, and closes what was opened for it. */
function launch(sandbox: Sandbox, { args, descriptors }: Container, hasInput: boolean) {
  const [launcher = '', ...before] = [...sandbox.enter, sandbox.launcher]
  try {
    return spawn(launcher, [...before, ...args], {
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
}

/** What a container reports of itself, and the answer after which its command begins. */
class Gate {
  readonly #child: ChildProcess
  readonly #pipe: Duplex
  readonly #reported: PipeText
  readonly #status: PipeText
  #hasBegun = false
  /** Why the command may not begin. */
  #refused: string | null = null

  constructor(child: ChildProcess) {
    const pipes: readonly unknown[] = child.stdio
    this.#child = child
    this.#pipe = (pipes[GATE_FD] as Duplex).on('error', () => {})
    this.#reported = textOf(this.#pipe)
    this.#status = textOf(pipes[STATUS_FD] as Readable)
  }

  /** Process 1 of the container, as the host sees it; null until it is reported. */
  get init(): number | null {
    return numberIn(this.#status.soFar(), 'child-pid')
  }

  readonly lives = (): boolean => this.#child.exitCode === null && this.#child.signalCode === null

  /** @param admit called with process 1 before the command begins, which it does not if this throws */
  openWhenReady(admit: (init: number) => void): void {
    const open = (): void => {
      const { init } = this
      const isReady = this.#reported.soFar().includes(GATE.ready) && init !== null
      if (!isReady || this.#hasBegun || this.#refused !== null || !this.lives()) return
      try {
        admit(init)
        this.#hasBegun = true
        this.#pipe.write('begin\n')
      } catch (cause) {
        this.#refused = `The command was not started, because it has no control group: ${messageOf(cause)}`
        this.#pipe.destroy()
      }
    }
    for (const pipe of [this.#reported, this.#status]) pipe.onText(open)
  }

  /** How the command ended, after the exit of bwrap. When this resolves, nothing of the container lives. */
  async end(file: string, mark: string): Promise<Ended> {
    const { signalCode } = this.#child
    const closed = Promise.all([this.#reported.closed, this.#status.closed])
    // Without its bwrap, a container may wait for ever, with all pipes open.
    const isLeft = signalCode !== null || !(await settledWithin(closed, CLOSED_MS))
    if (isLeft) await killContainer(mark)
    await settledWithin(closed, REAP_MS)
    const exitCode = numberIn(this.#status.soFar(), 'exit-code')
    if (this.#refused !== null) return { end: 'not_started', message: this.#refused }
    if (this.#reported.soFar().includes(GATE.notFound)) {
      return { end: 'not_found', message: `The program ${file} is not found` }
    }
    if (exitCode !== null) return { end: 'exited', exitCode }
    // Somebody killed bwrap, such as the kernel for lack of memory, and all that was in the container with it.
    if (this.#hasBegun) return { end: 'lost' }
    if (signalCode !== null) return { end: 'not_started', message: KILLED_EARLY }
    // bwrap itself failed. What it printed is the output of the call.
    return { end: 'not_isolated', message: '' }
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
