import { stat } from 'node:fs/promises'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { present } from '../domain/present.ts'
import { messageOf } from '../lib/message-of.ts'
import { REAP_MS, type Started, settledWithin, untilClosed } from './child.ts'
import { notStarted } from './command.ts'
import { CommandGroup } from './command-group.ts'
import { startContained } from './contained-process.ts'
import { reach } from './crash-moments.ts'
import { diskShortageNow, noDisk, watchDisk } from './disk-watch.ts'
import { SandboxError } from './isolation/project-folder.ts'
import { notIsolated } from './isolation/sandbox.ts'
import { startPlain } from './plain-process.ts'
import { tooMuchMemory, watchProcesses } from './process-watch.ts'
import type { CallEnd, Ended, NotStarted, StartRequest, Stop, StopCause } from './protocol.ts'

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
  const started = await start(request, io.stopped)
  if ('end' in started) return started
  const closed = Promise.all([started.stdout, started.stderr].map(untilClosed))
  io.onStarted(started)
  const { promise: exceeded, resolve: onTooMuch } = Promise.withResolvers<Stop>()
  const kills = (): number => started.group?.kills() ?? 0
  const unwatch = watchProcesses({
    ...{ pid: started.pid, mark: started.mark, namespace: started.namespace },
    ...{ limits: request.limits, kills, onTooMuch },
    // A process of root that is not in a container may move to another group.
    members: () => (started.mark === null ? (started.group?.members() ?? null) : null),
  })
  const unwatchDisk = watchDisk({ ...writtenBy(request), limits: request.limits, onTooMuch })
  const ownStop = exceeded.then(({ cause }) => cause)
  const end = await untilEnded(started, Promise.race([io.stopped, ownStop]), request.timeoutMs)
  unwatch()
  unwatchDisk()
  started.stdin?.destroy()
  io.onDead()
  if (!(await settledWithin(closed, DRAIN_MS))) {
    // A process that was not found may hold a pipe open: what is in it is read before it is closed.
    await setImmediate()
    started.stdout.destroy()
    started.stderr.destroy()
    await closed
  }
  const wasKilled = kills() > 0
  await started.group?.release()
  const ended = await endOf(started, end, { wasKilled, exceeded, request })
  const report = ended.end === 'exited' && request.reports ? await started.report() : null
  return { ...ended, ...present({ facts: started.facts, report }) }
}

/** How a command ended, with what it did if it was stopped at a limit. */
async function endOf(
  { exited }: Started,
  end: 'exited' | StopCause,
  {
    wasKilled,
    exceeded,
    request,
  }: {
    readonly wasKilled: boolean
    readonly exceeded: Promise<Stop>
    readonly request: StartRequest
  },
): Promise<Ended> {
  if (end === 'exited') {
    if (!wasKilled) return exited
    return { end: 'out_of_memory', why: tooMuchMemory(request.limits) }
  }
  const stop = await Promise.race([exceeded, null])
  return stop?.cause === end ? { end, why: stop.why } : { end }
}

/** The folders that a command writes to. */
function writtenBy({ sandbox, cwd }: StartRequest) {
  const own = sandbox?.own ?? null
  const { layer, home } = sandbox?.checkHome ?? {}
  const checkHome = layer?.changes ?? home ?? []
  const homes = [own === null ? [] : [own.home, own.tmp], checkHome].flat()
  return { homes, disks: [sandbox?.project ?? cwd, ...homes.slice(0, 1)] }
}

async function start(
  request: StartRequest,
  stopped: Promise<StopCause>,
): Promise<Started | NotStarted | { readonly end: StopCause }> {
  const { file, project, sandbox, limits } = request
  const short = diskShortageNow(project, limits.freeDiskBytes)
  if (short !== null) return { end: 'not_started', message: noDisk(short) }
  let group: CommandGroup | null
  try {
    group = request.group === null ? null : CommandGroup.take(request.group, limits)
  } catch (cause) {
    return notStarted(`${file} cannot be started, because it gets no control group`, cause)
  }
  try {
    const stop = new AbortController()
    void stopped.then(() => stop.abort())
    const started =
      sandbox?.level === 'namespaces'
        ? await startContained(request, sandbox, group, stop.signal)
        : await startPlain(request, group)
    if (started === null || 'end' in started) await group?.release()
    return started ?? { end: await stopped }
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
  const end = await exitOrStop(exited, stopped, timeoutMs)
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

/** What comes first: the exit of the command, its time limit or a stop. */
async function exitOrStop(
  exited: Promise<unknown>,
  stopped: Promise<StopCause>,
  timeoutMs: StartRequest['timeoutMs'],
): Promise<'exited' | StopCause> {
  const { promise: late, resolve } = Promise.withResolvers<StopCause>()
  const timer =
    timeoutMs === null
      ? undefined
      : setTimeout(resolve, Math.min(timeoutMs, MAX_TIMER_MS), 'timed_out')
  const end = await Promise.race([exited.then(() => 'exited' as const), stopped, late])
  clearTimeout(timer)
  return end
}
