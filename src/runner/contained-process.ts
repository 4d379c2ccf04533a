import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import type { CommandGroup } from './cgroup.ts'
import { REAP_MS, type Started, settledWithin, spawned, untilClosed, untilExit } from './child.ts'
import { container, NOT_FOUND_FD, SECCOMP_FD, STATUS_FD } from './isolation/bubblewrap.ts'
import type { Sandbox } from './isolation/sandbox.ts'
import { namespaceOf } from './process-watch.ts'
import type { StartRequest } from './protocol.ts'
import { sendSignal } from './stragglers.ts'

/** Starts a command in a container, whose end is the end of all that is in it. */
export async function startContained(
  { file, args, cwd, env, limits, hasInput = false }: StartRequest,
  sandbox: Sandbox,
  group: CommandGroup | null,
): Promise<Started> {
  const blocks = group !== null
  const { processes } = limits
  const contained = container(sandbox, [file, ...args], { env, cwd, processes, blocks })
  const { args: all, mounts, seccomp, facts, blockFd } = contained
  let child: ChildProcess
  try {
    const [launcher = '', ...before] = [...sandbox.enter, sandbox.launcher]
    child = spawn(launcher, [...before, ...all], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: [
        hasInput ? 'pipe' : 'ignore',
        ...(['pipe', 'pipe', 'pipe', 'pipe', 'pipe'] as const),
        ...mounts,
        ...(blocks ? (['pipe'] as const) : []),
      ],
    })
  } finally {
    for (const descriptor of mounts) closeSync(descriptor)
  }
  const { stdin, stdout, stderr } = child
  if (stdout === null || stderr === null) throw await failureOf(child)
  const exit = untilExit(child)
  const pipes: readonly unknown[] = child.stdio
  const filter = pipes[SECCOMP_FD] as Writable
  filter.on('error', () => {}).end(seccomp)
  const missing = textOf(pipes[NOT_FOUND_FD] as Readable)
  const status = textOf(pipes[STATUS_FD] as Readable)
  const pid = await spawned(child)
  const init = (): number | null => numberIn(status.soFar(), 'child-pid')
  if (group !== null) enterGroup(group, pid, status, pipes[blockFd] as Writable)
  const lives = (): boolean => child.exitCode === null && child.signalCode === null
  let namespace: string | null = null
  return {
    ...{ stdin, stdout, stderr, pid, facts, group, lives, mark: null },
    exited: exit.then(async () => {
      await Promise.all([missing.closed, status.closed])
      const exitCode = numberIn(status.soFar(), 'exit-code')
      if (missing.soFar() !== '') {
        return { end: 'not_found', message: `The program ${file} is not found` }
      }
      // Somebody killed bwrap, such as the kernel for lack of memory, and all that was in the container with it.
      if (exitCode === null && child.signalCode !== null) return { end: 'lost' }
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

/** Moves a container into its control group. Its command begins when the pipe `gate` is closed. */
function enterGroup(group: CommandGroup, pid: number, status: PipeText, gate: Writable): void {
  gate.on('error', () => {})
  const enter = (): void => {
    const init = numberIn(status.soFar(), 'child-pid')
    if (init === null || gate.writableEnded) return
    for (const process of [pid, init]) group.add(process)
    gate.end('.')
  }
  status.onText(enter)
  enter()
  void status.closed.then(() => gate.destroy())
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
