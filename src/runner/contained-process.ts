import { spawn } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Semaphore } from '../lib/semaphore.ts'
import { throwIfShort } from '../lib/shortage.ts'
import { REAP_MS, type Started, settledWithin, untilExit } from './child.ts'
import type { CommandGroup } from './command-group.ts'
import { Gate } from './container-gate.ts'
import { sessionGivesWay } from './helper-process.ts'
import { container } from './isolation/bubblewrap.ts'
import { isExecutable, launchError, type Sandbox } from './isolation/sandbox.ts'
import { newContainerMark } from './left-containers.ts'
import { namespaceOf, processNames } from './process-watch.ts'
import type { StartRequest } from './protocol.ts'
import { type Piped, startPiped } from './standard-pipes.ts'
import { sendSignal } from './stragglers.ts'

/**
 * How many containers are made at once. Making one keeps a processor busy like a short command, so more of them
 * would not be ready earlier, and would keep everything else on the machine waiting.
 */
const making = new Semaphore(2 * availableParallelism())
/** One that takes longer than this, such as on a slow disk, does not keep others waiting. */
const MAKING_MS = 2_000

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

async function makeContainer(
  request: StartRequest,
  sandbox: Sandbox,
  group: CommandGroup | null,
  onMade: () => void,
): Promise<Started> {
  const mark = newContainerMark()
  const { facts, ...piped } = await launch(request, sandbox, mark)
  const { child, pid, stdin, stdout, stderr } = piped
  const exit = untilExit(child)
  const gate = new Gate(child)
  gate.openWhenReady((first) => {
    onMade()
    sessionGivesWay(first)
    if (group !== null) for (const one of [pid, ...processesWith(first)]) group.add(one)
  })
  let namespace: string | null = null
  return {
    ...{ stdin, stdout, stderr, pid, group, facts, mark: null, lives: gate.lives },
    report: async () => gate.report,
    exited: exit.then(() => {
      onMade()
      return gate.end(request.file, mark)
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
async function launch(request: StartRequest, sandbox: Sandbox, mark: string) {
  // Another program may start it.
  if (!isExecutable(sandbox.launcher)) throw launchError(sandbox.launcher, null)
  const { env, limits, hasInput = false } = request
  const { processes } = limits
  const { line, descriptors, facts } = container(sandbox, env, { ...request, processes })
  const [program = '', ...args] = [...line, mark]
  try {
    const piped: Piped = await startPiped({ hasInput, areReused: true }, (stdio) =>
      spawn(program, args, {
        cwd: '/',
        env: {},
        detached: true,
        stdio: [...stdio, 'pipe', 'pipe', ...descriptors],
      }),
    )
    return { ...piped, facts }
  } catch (cause) {
    throw launchError(program, cause)
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor)
  }
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
