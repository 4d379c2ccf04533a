import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { throwIfShort } from '../lib/shortage.ts'
import { REAP_MS, type Started, settledWithin, spawned, untilExit } from './child.ts'
import type { CommandGroup } from './command-group.ts'
import { Gate } from './container-gate.ts'
import { sessionGivesWay } from './helper-process.ts'
import { type Container, writeWhole } from './isolation/bubblewrap.ts'
import { type ContainedCommand, commandScript, withoutNul } from './isolation/gate-shell.ts'
import { launchError } from './isolation/sandbox.ts'
import { newContainerMark } from './left-containers.ts'
import { namespaceOf, processNames } from './process-watch.ts'
import { sendSignal } from './stragglers.ts'

/** A container that waits for its command, the only one that it is used for. */
export class WaitingContainer {
  readonly #child: ChildProcess
  readonly #gate: Gate
  readonly #mark: string
  readonly made: Container
  /** Resolves when bwrap has ended. */
  readonly exit: Promise<unknown>

  private constructor(child: ChildProcess, mark: string, made: Container) {
    this.#child = child
    this.#gate = new Gate(child)
    this.#mark = mark
    this.made = made
    this.exit = untilExit(child)
  }

  /** Starts bwrap. From now on the descriptors of the container are closed with it. Rejects if bwrap cannot be started. */
  static async make(made: Container, hasInput: boolean): Promise<WaitingContainer> {
    try {
      const mark = newContainerMark()
      const child = launch(made, mark, hasInput)
      // Without descriptors it has no pipes either, not even `null`.
      if (child.pid === undefined) throw await failureOf(child)
      const container = new WaitingContainer(child, mark, made)
      await spawned(child)
      return container
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
    const { stdin, stdout, stderr, pid } = this.#child
    if (stdout === null || stderr === null || pid === undefined) throw new Error('it has no pipes')
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
    for (const pipe of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) pipe?.destroy()
  }
}

function launch({ command, descriptors }: Container, mark: string, hasInput: boolean) {
  const [program = '', ...args] = [...command, mark]
  return spawn(program, args, {
    cwd: '/',
    env: {},
    detached: true,
    stdio: [
      hasInput ? 'pipe' : 'ignore',
      ...(['pipe', 'pipe', 'pipe', 'pipe'] as const),
      ...descriptors,
    ],
  })
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

/** The error of a process that could not be started. */
const failureOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) => child.once('error', resolve))
