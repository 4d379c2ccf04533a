import { stat } from 'node:fs/promises'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { present } from '../../domain/present.ts'
import { sleep } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/message-of.ts'
import { within } from '../../lib/promises.ts'
import { SandboxError } from '../../sandbox/project-folder.ts'
import { notIsolated } from '../../sandbox/sandbox.ts'
import { notStarted } from '../command.ts'
import { CommandGroup, canLimitMemory, diskShortage, noDisk, sizeOf, textOf } from '../processes.ts'
import type { CallEnd, Ended, NotStarted, StartRequest, Stop, StopCause } from '../protocol.ts'
import { startContained } from './container.ts'
import { startPlain } from './marked.ts'
import { REAP_MS, reach, type Started, settledWithin, untilClosed } from './process.ts'

/** Time between SIGTERM and SIGKILL. An abort stops everything within a second, even what ignores SIGTERM. */
export const GRACE_MS = 400
/** Time to read what is still in the pipes after all that could write to them was killed. */
const DRAIN_MS = 1_000
const POLL_MS = 20
/** The longest timer of Node. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** What the caller does with a process. */
export type ProcessIo = {
  /** Called once, before any output. Its output ends when nothing writes to it any more. */
  readonly onStarted: (streams: Pick<Started, 'stdin' | 'stdout' | 'stderr'>) => void
  /** Called when no process of the command is alive: little is left in the pipes. */
  readonly onDead: () => void
  /** Resolves when the server stops the command. */
  readonly stopped: Promise<StopCause>
}

/** Runs a command to its end. When it resolves, nothing of the command lives. */
export async function runProcess(request: StartRequest, io: ProcessIo): Promise<CallEnd> {
  const started = await start(request)
  if ('end' in started) return started
  const closed = Promise.all([started.stdout, started.stderr].map(untilClosed))
  io.onStarted(started)
  const over = new AbortController()
  const exceeded = limitExceeded(request, started, over.signal)
  const ownStop = exceeded.then(({ cause }) => cause)
  const end = await untilEnded(started, Promise.race([io.stopped, ownStop]), request.timeoutMs)
  over.abort()
  started.stdin?.destroy()
  io.onDead()
  if (!(await settledWithin(closed, DRAIN_MS))) {
    // A process that was not found may hold a pipe open: what is in it is read before it is closed.
    await setImmediate()
    started.stdout.destroy()
    started.stderr.destroy()
    await closed
  }
  const wasKilled = hasKilled(started)
  await started.group?.release()
  // Perhaps something else came before a limit.
  const stop = await Promise.race([exceeded, null])
  let ended: Ended
  if (end !== 'exited') ended = stop?.cause === end ? { end, why: stop.why } : { end }
  else if (wasKilled) ended = { end: 'out_of_memory', why: tooMuchMemory(request.limits) }
  else ended = await started.exited
  const report = ended.end === 'exited' && request.reports ? await started.report() : null
  return { ...ended, ...present({ facts: started.facts, report }) }
}

async function start(request: StartRequest): Promise<Started | NotStarted> {
  const { file, project, sandbox, limits } = request
  const short = await diskShortage([project], limits.freeDiskBytes)
  if (short !== null) return { end: 'not_started', message: noDisk(short) }
  let group: CommandGroup | null
  try {
    group = request.group === null ? null : new CommandGroup(request.group, limits)
  } catch (cause) {
    return notStarted(`${file} cannot be started, because it gets no control group`, cause)
  }
  try {
    const started =
      sandbox?.level === 'namespaces'
        ? await startContained(request, sandbox, group)
        : await startPlain(request, group)
    if ('end' in started) await group?.release()
    return started
  } catch (cause) {
    await group?.release()
    return whyNotStarted(request, cause)
  }
}

/** The end of a command that failed with this error before it began. */
export async function whyNotStarted(
  { file, cwd }: Pick<StartRequest, 'file' | 'cwd'>,
  cause: unknown,
): Promise<NotStarted> {
  if (cause instanceof SandboxError) return notIsolated(messageOf(cause))
  const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
  if (!missing) return notStarted(`${file} cannot be started`, cause)
  // A missing program and a missing folder have the same code.
  const folder = await stat(cwd).catch(() => null)
  return folder?.isDirectory()
    ? { end: 'not_found', message: `The program ${file} is not found` }
    : { end: 'not_started', message: `${file} cannot be started: there is no folder ${cwd}` }
}

/** The limits at which a command is killed without a warning. */
const AT_ONCE: ReadonlySet<StopCause> = new Set([
  'out_of_memory',
  'too_many_processes',
  'disk_full',
])

/** Waits for the end of a command, stops it at a limit, and kills all that is left of it. */
async function untilEnded(
  { exited, terminate, lives, kill }: Started,
  stopped: Promise<StopCause>,
  timeoutMs: StartRequest['timeoutMs'],
): Promise<'exited' | StopCause> {
  const first = Promise.race([exited.then(() => 'exited' as const), stopped])
  const late = (): StopCause => 'timed_out'
  const end = await (timeoutMs === null
    ? first
    : within(Math.min(timeoutMs, MAX_TIMER_MS), first, late))
  // A command that uses too much gets no time to use still more.
  if (end !== 'exited' && !AT_ONCE.has(end)) {
    terminate()
    reach('while stopping')
    const killAt = performance.now() + GRACE_MS
    while (lives() && performance.now() < killAt) await pause(POLL_MS)
  }
  await kill()
  await settledWithin(exited, REAP_MS)
  return end
}

const MIB = 1024 * 1024
const PROCESSES_MS = 200
const DISK_MS = 500
/** The share of time that looks may take. With many processes or files a look takes long, so the next one is later. */
const MAX_SHARE = 0.05
/** Commands that are watched now. */
let watched = 0

/**
 * Looks at what a command uses until it is over. Resolves when that is more than a limit, and otherwise never.
 *
 * Where no control group can be made, only this limits memory. The kernel's limits for a process (RLIMIT_AS, RLIMIT_DATA) count what
 * Node, Go, the JVM and sanitizers only reserve: Node with eight idle worker threads has 6 GB of address space and 5 GB
 * of data, and uses 85 MB of memory.
 */
function limitExceeded(
  { limits, sandbox, cwd }: StartRequest,
  started: Started,
  over: AbortSignal,
): Promise<Stop> {
  const { promise, resolve } = Promise.withResolvers<Stop>()
  const watch = async (ms: number, look: () => Promise<Stop | null> | Stop | null) => {
    for (let wait = ms; await sleep(wait, over); ) {
      const begun = performance.now()
      const stop = await look()
      if (stop !== null) resolve(stop)
      wait = Math.max(ms, ((performance.now() - begun) * watched) / MAX_SHARE)
    }
  }
  watched += 1
  over.addEventListener('abort', () => {
    watched -= 1
  })
  const { layer, home } = sandbox?.checkHome ?? {}
  const { own = null } = sandbox ?? {}
  const homes = [own === null ? [] : [own.home, own.tmp], layer?.changes ?? home ?? []].flat()
  const disks = [sandbox?.copy?.folder ?? sandbox?.project ?? cwd, ...homes.slice(0, 1)]
  if (canLimitMemory) void watch(PROCESSES_MS, () => usedTooMuch(started, limits))
  void watch(DISK_MS, async () => {
    const short = await diskShortage(disks, limits.freeDiskBytes)
    return short === null ? null : { cause: 'disk_full', why: `left less than ${short}` }
  })
  if (homes.length > 0) void watch(DISK_MS, () => wroteTooMuch(homes, limits, over))
  return promise
}

/** Whether the kernel has killed something of it for its memory. */
const hasKilled = ({ group }: Started): boolean => (group?.kills() ?? 0) > 0

/** What a command at its limit of memory did, as a part of a sentence. */
const tooMuchMemory = ({ memoryBytes }: StartRequest['limits']): string =>
  `used more than ${Math.floor(memoryBytes / MIB)} MiB of memory`

function usedTooMuch(started: Started, limits: StartRequest['limits']): Stop | null {
  let pids: readonly number[] = []
  try {
    pids = started.pids()
  } catch {
    // This process is out of descriptors; it looks again soon.
  }
  const sum = (bytesOf: (pid: number) => number) => pids.reduce((all, pid) => all + bytesOf(pid), 0)
  // The first sum is cheap, but counts shared memory once per process; the second counts it once.
  const isTooLarge = sum(roughBytes) > limits.memoryBytes && sum(exactBytes) > limits.memoryBytes
  if (isTooLarge || hasKilled(started)) {
    return { cause: 'out_of_memory', why: tooMuchMemory(limits) }
  }
  if (pids.length <= limits.processes) return null
  return { cause: 'too_many_processes', why: `had more than ${limits.processes} processes` }
}

/** The own memory of a process, including what is swapped out. */
const roughBytes = (pid: number): number =>
  bytesIn(textOf(pid, 'status'), /^(?:RssAnon|RssShmem|VmSwap):\s*(\d+)/gm)

/** The same, but a page that n processes share counts as an nth of it for each. */
function exactBytes(pid: number): number {
  const rollup = textOf(pid, 'smaps_rollup')
  if (!rollup.includes('Pss_Anon:')) return roughBytes(pid)
  return bytesIn(rollup, /^(?:Pss_Anon|Pss_Shmem|SwapPss):\s*(\d+)/gm)
}

const bytesIn = (text: string, kib: RegExp): number =>
  text.matchAll(kib).reduce((sum, [, amount]) => sum + Number(amount) * 1024, 0)

async function wroteTooMuch(
  homes: readonly string[],
  { homeBytes }: StartRequest['limits'],
  over: AbortSignal,
): Promise<Stop | null> {
  let bytes = 0
  for (const folder of homes) bytes += await sizeOf(folder, over)
  if (bytes <= homeBytes) return null
  const why = `wrote more than ${Math.round(homeBytes / MIB)} MiB into its home and its temporary files`
  return { cause: 'disk_full', why }
}
