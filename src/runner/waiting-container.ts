import { spawn } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { throwIfShort } from '../lib/shortage.ts'
import { REAP_MS, type Started, settledWithin, untilExit } from './child.ts'
import type { CommandGroup } from './command-group.ts'
import { Gate } from './container-gate.ts'
import { sessionGivesWay } from './helper-process.ts'
import { type Container, writeWhole } from './isolation/bubblewrap.ts'
import { type ContainedCommand, commandScript, withoutNul } from './isolation/gate-shell.ts'
import { launchError } from './isolation/sandbox.ts'
import { newContainerMark } from './left-containers.ts'
import { namespaceOf, processNames } from './process-watch.ts'
import { type Piped, startPiped } from './standard-pipes.ts'
import { sendSignal } from './stragglers.ts'

/** A container that waits for its command, the only one that it is used for. */
export class WaitingContainer {
  readonly #piped: Piped
  readonly #gate: Gate
  readonly #mark: string
  readonly made: Container
  /** Resolves when bwrap has ended. */
  readonly exit: Promise<unknown>

  private constructor(piped: Piped, mark: string, made: Container) {
    const { child } = piped
    this.#piped = piped
    this.#gate = new Gate(child)
    this.#mark = mark
    this.made = made
    this.exit = untilExit(child)
  }

  /** Starts bwrap. From now on the descriptors of the container are closed with it. Rejects if bwrap cannot be started. */
  static async make(made: Container, hasInput: boolean): Promise<WaitingContainer> {
    try {
      const mark = newContainerMark()
      return new WaitingContainer(await launch(made, mark, hasInput), mark, made)
    } catch (cause) {
      closeAll(made)
      throw launchError(made.command[0] ?? '', cause)
    }
  }

  get lives(): boolean {
    return this.#gate.lives()
  }

  /** @param act called when it can begin at once; never if it ends before */
  whenReady(act: () => void): void {
    this.#gate.whenReady(act)
  }

  /** Lets the command begin as soon as the container is made. */
  begin(command: ContainedCommand, group: CommandGroup | null): Started {
    const { pid, stdin, stdout, stderr } = this.#piped
    const gate = this.#gate
    try {
      writeWhole(
        this.made.script,
        withoutNul([this.made.exported, commandScript(command)]).join(''),
      )
    } catch (cause) {
      this.discard()
      throw cause
    }
    closeAll(this.made)
    gate.openWhenReady((first) => {
      sessionGivesWay(first)
      if (group !== null) for (const one of [pid, ...processesWith(first)]) group.add(one)
    })
    let namespace: string | null = null
    return {
      ...{ stdin, stdout, stderr, pid, group, facts: this.made.facts, mark: null },
      lives: gate.lives,
      report: async () => gate.report,
      exited: this.exit.then(() => gate.end(command.file, this.#mark)),
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
        if (!(await settledWithin(this.exit, REAP_MS))) sendSignal(pid, 'SIGKILL')
      },
    }
  }

  /** Ends it without a command. */
  discard(): void {
    closeAll(this.made)
    this.#gate.close()
    // Its user may have stopped the shell at the gate.
    const { init, lives } = this.#gate
    if (init !== null && lives()) sendSignal(init, 'SIGKILL')
    void this.exit.then(() => this.#gate.end('', this.#mark))
    const { stdin, stdout, stderr } = this.#piped
    for (const pipe of [stdin, stdout, stderr]) pipe?.destroy()
  }
}

function launch({ command, descriptors }: Container, mark: string, hasInput: boolean) {
  const [program = '', ...args] = [...command, mark]
  return startPiped({ hasInput, areReused: true }, (stdio) =>
    spawn(program, args, {
      cwd: '/',
      env: {},
      detached: true,
      stdio: [...stdio, 'pipe', 'pipe', ...descriptors],
    }),
  )
}

function closeAll({ descriptors }: Container): void {
  for (const descriptor of descriptors) closeSync(descriptor)
}

/** What is in a container before its command begins: process 1 and, unless that is the shell at the gate, the shell. */
function processesWith(first: number): number[] {
  try {
    const children = readFileSync(`/proc/${first}/task/${first}/children`, 'utf8')
    return [first, ...children.split(' ').filter(Boolean).map(Number)]
  } catch (cause) {
    throwIfShort(cause)
    // The kernel may have no such lists.
    const inside = namespaceOf(first)
    const all = processNames().map(Number).filter(Number.isInteger)
    return [first, ...all.filter((one) => inside !== null && namespaceOf(one) === inside)]
  }
}
