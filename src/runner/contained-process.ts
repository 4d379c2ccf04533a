import { closeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Semaphore } from '../lib/semaphore.ts'
import type { Started } from './child.ts'
import type { CommandGroup } from './command-group.ts'
import { ContainersAhead } from './containers-ahead.ts'
import { container } from './isolation/bubblewrap.ts'
import type { Sandbox } from './isolation/sandbox.ts'
import type { StartRequest } from './protocol.ts'
import { WaitingContainer } from './waiting-container.ts'

/**
 * How many containers are made at once. Making one keeps a processor busy like a short command, so more of them
 * would not be ready earlier, and would keep everything else on the machine waiting.
 */
const making = new Semaphore(2 * availableParallelism())
/** One that takes longer than this, such as on a slow disk, does not keep others waiting. */
const MAKING_MS = 2_000
/** How long after the beginning of a command the container of the next one is made: a short one ends first. */
const AHEAD_AFTER_MS = 5
const ahead = new ContainersAhead<WaitingContainer>()

/** Starts a command in a container, whose end is the end of all in it. Null if `signal` aborts before it is made. */
export async function startContained(
  request: StartRequest,
  sandbox: Sandbox,
  group: CommandGroup | null,
  signal: AbortSignal,
): Promise<Started | null> {
  const ready = madeAhead(request, sandbox) ?? (await makeInTurn(request, sandbox, signal))
  if (ready === null) return null
  const started = ready.begin({ ...request, processes: request.limits.processes }, group)
  ready.whenReady(() => makeAhead(request, sandbox))
  return started
}

/**
 * While a command works, the container of the next one of its run is made, unless others wait for theirs. The next command
 * gets it only if it would get the same one then.
 */
function makeAhead(request: StartRequest, sandbox: Sandbox): void {
  if (request.hasInput || !ahead.expect(sandbox)) return
  setTimeout(() => void makeExpected(request, sandbox), AHEAD_AFTER_MS).unref()
}

async function makeExpected(request: StartRequest, sandbox: Sandbox): Promise<void> {
  const release = ahead.expects(sandbox) ? making.tryAcquire() : null
  // If it cannot be made now, the next command makes one, and its error says why.
  const made = release === null ? null : await make(request, sandbox, release).catch(() => null)
  ahead.keep(sandbox, made)
}

/** Ends the container that waits for a command of a run, by the home of that run. */
export const forgetRun = (home: string): void => ahead.discard(home)

/** The container that waits for this command; null if none waits, or the command would get another one now. */
function madeAhead({ env, hasInput = false }: StartRequest, sandbox: Sandbox) {
  if (hasInput || !ahead.has(sandbox)) return null
  const wanted = container(sandbox, env)
  const found = ahead.take(sandbox, wanted)
  for (const descriptor of wanted.descriptors) closeSync(descriptor)
  return found
}

async function makeInTurn(request: StartRequest, sandbox: Sandbox, signal: AbortSignal) {
  const release = await making.acquire(signal, sandbox.own?.home ?? sandbox.project)
  return release === null ? null : make(request, sandbox, release)
}

/** @param release called when it is made, and at the latest after a while */
async function make(
  { env, hasInput = false }: StartRequest,
  sandbox: Sandbox,
  release: () => void,
): Promise<WaitingContainer> {
  let isOver = false
  const end = (): void => {
    clearTimeout(timer)
    if (!isOver) release()
    isOver = true
  }
  const timer = setTimeout(end, MAKING_MS)
  try {
    const made = await WaitingContainer.make(container(sandbox, env), hasInput)
    made.whenReady(end)
    void made.exit.then(end)
    return made
  } catch (cause) {
    end()
    throw cause
  }
}
