import type { ChildProcess } from 'node:child_process'
import type { Duplex, Readable } from 'node:stream'
import { lives, REAP_MS, settledWithin } from './child.ts'
import { notStarted } from './command.ts'
import { STATUS_FD } from './isolation/bubblewrap.ts'
import { GATE, GATE_FD } from './isolation/gate-shell.ts'
import { killContainer } from './left-containers.ts'
import { type PipeText, reportIn, textOf } from './pipe-text.ts'
import type { Ended, NotStarted } from './protocol.ts'

/** Time for the pipes of a container to close after its bwrap has ended by itself. */
const CLOSED_MS = 1_000
const KILLED_EARLY = 'The command was not started: the process that makes its container was killed'
/** Added to a signal, it is the exit code of what the signal ended. */
const SIGNALED = 128

/** What a container reports of itself, and the answer after which its command begins. */
export class Gate {
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
    this.#pipe = (pipes[GATE_FD] as Duplex).on('error', () => {})
    this.#reported = textOf(this.#pipe)
    this.#status = textOf(pipes[STATUS_FD] as Readable)
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
  async end(file: string, mark: string): Promise<Ended> {
    const { signalCode } = this.#child
    const closed = Promise.all([this.#reported.closed, this.#status.closed])
    // Without its bwrap, a container may wait for ever, with all pipes open.
    const isLeft = signalCode !== null || !(await settledWithin(closed, CLOSED_MS))
    if (isLeft) await killContainer(mark)
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
