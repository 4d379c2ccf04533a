import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { Duplex, Readable } from 'node:stream'
import { container, STATUS_FD } from '../../sandbox/bubblewrap.ts'
import { GATE, REPORT_FD } from '../../sandbox/container-shell.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { lives } from '../../sandbox/system.ts'
import { notStarted } from '../command.ts'
import {
  type CommandGroup,
  namespaceOf,
  processes,
  sendSignal,
  sessionGivesWay,
} from '../processes.ts'
import type { Ended, NotStarted, StartRequest } from '../protocol.ts'
import { Mark } from './marked.ts'
import {
  type PipeText,
  pipeText,
  REAP_MS,
  reportIn,
  type Started,
  settledWithin,
  startPiped,
  untilExit,
} from './process.ts'

/** Starts a command in a container, whose end is the end of all in it. */
export async function startContained(
  request: StartRequest,
  sandbox: Sandbox,
  group: CommandGroup | null,
): Promise<Started> {
  const { env, limits, hasInput = false } = request
  const made = container(sandbox, env, { ...request, processes: limits.processes })
  const [program = '', ...args] = made.line
  const launch = (stdio: (number | 'pipe' | 'ignore')[]) =>
    spawn(program, args, {
      cwd: '/',
      env: new Mark().variables,
      detached: true,
      stdio: [...stdio, 'pipe', 'pipe', ...made.descriptors],
    })
  const { child, pid, stdin, stdout, stderr } = await startPiped(hasInput, launch).finally(() => {
    for (const descriptor of made.descriptors) closeSync(descriptor)
  })
  const exit = untilExit(child)
  const gate = new Gate(child)
  gate.openWhenReady((first) => {
    sessionGivesWay(first)
    if (group !== null) for (const one of [pid, ...processesWith(first)]) group.add(one)
  })
  return {
    stdin,
    stdout,
    stderr,
    group,
    facts: made.facts,
    lives: gate.lives,
    report: async () => gate.report,
    exited: exit.then(() => gate.end(request.file, pid)),
    pids: () => group?.members() ?? (gate.init === null ? [] : processesWith(gate.init)),
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

/** What is in the container of its process 1. */
function processesWith(first: number): number[] {
  const inside = namespaceOf(first)
  return processes().filter(
    (one) => one === first || (inside !== null && namespaceOf(one) === inside),
  )
}

/** Time for the pipes of a container to close after its bwrap has ended by itself. */
const CLOSED_MS = 1_000
const KILLED_EARLY = 'The command was not started: the process that makes its container was killed'
/** Added to a signal, it is the exit code of what the signal ended. */
const SIGNALED = 128

/** What a container reports of itself, and the answer after which its command begins. */
class Gate {
  readonly #child: ChildProcess
  readonly #pipe: Duplex
  readonly #reported: PipeText
  readonly #status: PipeText
  #hasBegun = false
  /** Why the command may not begin. */
  #refused: NotStarted | null = null

  constructor(child: ChildProcess) {
    const pipes: readonly unknown[] = child.stdio
    this.#child = child
    this.#pipe = (pipes[REPORT_FD] as Duplex).on('error', () => {})
    this.#reported = pipeText(this.#pipe)
    this.#status = pipeText(pipes[STATUS_FD] as Readable)
  }

  /** Process 1 of the container, as the host sees it; null until it is reported. */
  get init(): number | null {
    return numberIn(this.#status.soFar(), 'child-pid')
  }

  readonly lives = (): boolean => lives(this.#child)

  /** @param admit called with process 1 before the command begins, which it does not if this throws */
  openWhenReady(admit: (init: number) => void): void {
    const look = (): void => {
      const { init } = this
      const isReady = this.#reported.soFar().includes(GATE.ready) && init !== null
      if (!isReady || this.#hasBegun || this.#refused !== null || !this.lives()) return
      try {
        admit(init)
        this.#hasBegun = true
        this.#pipe.write('begin\n')
      } catch (cause) {
        const what = 'The command was not started, because it has no control group'
        this.#refused = notStarted(what, cause)
        this.#pipe.destroy()
      }
    }
    for (const pipe of [this.#reported, this.#status]) pipe.onText(look)
  }

  /** What the command reported, after its end. */
  get report(): string | null {
    return reportIn(this.#reported, `${GATE.ready}\n${GATE.started}\n`)
  }

  /** How the command ended, after the exit of bwrap. When this resolves, nothing of the container lives. */
  async end(file: string, bwrap: number): Promise<Ended> {
    const { signalCode } = this.#child
    const closed = Promise.all([this.#reported.closed, this.#status.closed])
    // Without its bwrap, a container may wait for ever, with all pipes open. Until its process 1 is known, that is in its group.
    const isLeft = signalCode !== null || !(await settledWithin(closed, CLOSED_MS))
    for (const left of isLeft ? [-bwrap, this.init ?? -bwrap] : []) sendSignal(left, 'SIGKILL')
    // A process outside of the container may have been given one of the descriptors.
    if (!(await settledWithin(closed, REAP_MS))) this.#reported.destroy()
    const exitCode = numberIn(this.#status.soFar(), 'exit-code')
    if (this.#refused !== null) return this.#refused
    if (this.#answered(GATE.notFound)) {
      return { end: 'not_found', message: `The program ${file} is not found` }
    }
    // Somebody killed bwrap, such as the kernel for lack of memory, and all that was in the container with it.
    if (exitCode === null && this.#hasBegun) return { end: 'lost' }
    const wasKilled = signalCode !== null || (exitCode ?? 0) > SIGNALED
    const failedAtGate = this.#hasBegun && !wasKilled
    if (exitCode !== null && (this.#answered(GATE.started) || failedAtGate)) {
      return { end: 'exited', exitCode }
    }
    if (wasKilled) return { end: 'not_started', message: KILLED_EARLY }
    // bwrap failed, or a program on the way to the gate. What it printed is the output of the call.
    return { end: 'not_isolated', message: '' }
  }

  #answered(answer: string): boolean {
    return this.#reported.soFar().startsWith(`${GATE.ready}\n${answer}\n`)
  }
}

/** A member of the JSON documents that bwrap reports. */
function numberIn(status: string, name: 'child-pid' | 'exit-code'): number | null {
  const found = new RegExp(`"${name}": (\\d+)`).exec(status)?.[1]
  return found === undefined ? null : Number(found)
}
