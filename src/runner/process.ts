import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as pause, setImmediate } from 'node:timers/promises'
import { messageOf } from '../lib/message-of.ts'
import { CommandGroup } from './cgroup.ts'
import { shortageOf } from './command.ts'
import { watchDisk } from './disk-watch.ts'
import { container, NOT_FOUND_FD, SECCOMP_FD, STATUS_FD } from './isolation/bubblewrap.ts'
import type { PolicyFacts } from './isolation/policy.ts'
import { isExecutable, notIsolated, type Sandbox, SandboxError } from './isolation/sandbox.ts'
import { restricted } from './isolation/setpriv.ts'
import { namespaceOf, tooMuchMemory, watchProcesses } from './process-watch.ts'
import type { CallEnd, Ended, NotStarted, StartRequest, Stop, StopCause } from './protocol.ts'
import {
  entryOf,
  killMarked,
  newMark,
  sendSignal,
  signalMarked,
  startReaper,
} from './stragglers.ts'

/** Time between SIGTERM and SIGKILL. An abort stops everything within a second, even what ignores SIGTERM. */
export const GRACE_MS = 400
/** Time to read what is still in the pipes after all that could write to them was killed. */
const DRAIN_MS = 1_000
/** Time for the kernel to end a killed child. One that hangs in a device never ends. */
const REAP_MS = 5_000
const POLL_MS = 20
/** The longest timer of Node. */
const MAX_TIMER_MS = 2 ** 31 - 1

type Mark = ReturnType<typeof newMark>

/** A process with all that comes of it. */
type Started = {
  readonly stdout: Readable
  readonly stderr: Readable
  /** How it ended by itself. */
  readonly exited: Promise<Ended>
  readonly pid: number
  /** How it is isolated; null if it is not. */
  readonly facts: PolicyFacts | null
  /** Its control group; null if it has none. */
  readonly group: CommandGroup | null
  /** The pid namespace that it is in alone; null if it shares that of the server. */
  readonly namespace: () => string | null
  readonly terminate: () => Promise<void>
  /** Whether the processes that `terminate` reaches still live. */
  readonly lives: () => boolean
  /** Kills everything of it. */
  readonly kill: () => Promise<void>
}

/** What the caller does with a process. */
export type ProcessIo = {
  /** Called once, before any output. `streams` end when nothing writes to them any more. */
  readonly onStarted: (streams: { readonly stdout: Readable; readonly stderr: Readable }) => void
  /** Called when no process of the command is alive: little is left in the pipes. */
  readonly onDead: () => void
  /** Resolves when the server stops the command. */
  readonly stopped: Promise<StopCause>
}

/** Runs a command to its end. When it resolves, nothing of the command lives. */
export async function runProcess(request: StartRequest, io: ProcessIo): Promise<CallEnd> {
  const mark = newMark()
  const started = await start(request, mark)
  if ('end' in started) return started
  const closed = Promise.all([started.stdout, started.stderr].map(untilClosed))
  io.onStarted(started)
  const { promise: exceeded, resolve: onTooMuch } = Promise.withResolvers<Stop>()
  const kills = (): number => started.group?.kills() ?? 0
  const unwatch = watchProcesses({
    ...{ pid: started.pid, mark: entryOf(mark), namespace: started.namespace },
    ...{ limits: request.limits, kills, onTooMuch },
  })
  const unwatchDisk = watchDisk({ ...writtenBy(request), limits: request.limits, onTooMuch })
  const ownStop = exceeded.then(({ cause }) => cause)
  const end = await untilEnded(started, Promise.race([io.stopped, ownStop]), request.timeoutMs)
  unwatch()
  unwatchDisk()
  io.onDead()
  if (!(await settledWithin(closed, DRAIN_MS))) {
    // A process that was not found may hold a pipe open: what is in it is read before it is closed.
    await setImmediate()
    started.stdout.destroy()
    started.stderr.destroy()
    await closed
  }
  const wasKilled = kills() > 0
  await started.group?.remove()
  const ended = await endOf(started, end, { wasKilled, exceeded, request })
  return started.facts === null ? ended : { ...ended, facts: started.facts }
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
  const homes = own === null ? [] : [own.home, own.tmp]
  return { homes, disks: [sandbox?.project ?? cwd, ...homes.slice(0, 1)] }
}

const untilClosed = (stream: Readable): Promise<void> =>
  new Promise((resolve) => {
    stream.on('error', () => {})
    stream.once('close', resolve)
  })

async function start(request: StartRequest, mark: Mark): Promise<Started | NotStarted> {
  const { file, args, cwd, env, sandbox } = request
  try {
    if (sandbox?.level === 'namespaces') return await startContained(request, sandbox)
    startReaper()
    const group = request.group === null ? null : new CommandGroup(request.group, request.limits)
    const how = { env, mark, group }
    if (sandbox === null) return await startMarked({ file, args, cwd }, how, null)
    const found = programOf(request)
    if (found === null) return { end: 'not_found', message: `The program ${file} is not found` }
    const all = restricted(sandbox, [found, ...args])
    const launched = { file: sandbox.launcher, args: all.args, cwd }
    return await startMarked(launched, how, all.facts)
  } catch (cause) {
    return whyNotStarted(file, cwd, cause)
  }
}

/** Starts a command in a process group of its own, whose processes are found by their mark. */
async function startMarked(
  { file, args, cwd }: Pick<StartRequest, 'file' | 'args' | 'cwd'>,
  {
    env,
    mark,
    group,
  }: {
    readonly env: StartRequest['env']
    readonly mark: Mark
    readonly group: CommandGroup | null
  },
  facts: PolicyFacts | null,
): Promise<Started> {
  const child = spawn(file, args, {
    cwd,
    env: { ...env, ...mark },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = untilExit(child).then((exitCode): Ended => ({ end: 'exited', exitCode }))
  const pid = await spawned(child)
  group?.add(pid)
  // If the machine runs out of memory, the kernel ends commands before it ends the server.
  void writeFile(`/proc/${pid}/oom_score_adj`, '500').catch(() => {})
  return {
    ...{
      stdout: child.stdout,
      stderr: child.stderr,
      exited,
      pid,
      facts,
      group,
      namespace: () => null,
    },
    terminate: async () => {
      sendSignal(-pid, 'SIGTERM')
      signalMarked(mark, 'SIGTERM')
    },
    lives: () => sendSignal(-pid, 0),
    kill: async () => {
      sendSignal(-pid, 'SIGKILL')
      killMarked(mark)
    },
  }
}

/** Starts a command in a container, whose end is the end of all that is in it. */
async function startContained(
  { file, args, cwd, env, limits, group: server }: StartRequest,
  sandbox: Sandbox,
): Promise<Started> {
  const blocks = server !== null
  const { processes } = limits
  const contained = container(sandbox, [file, ...args], { env, cwd, processes, blocks })
  const { args: all, mounts, seccomp, facts, blockFd } = contained
  let child: ChildProcess
  let group: CommandGroup | null = null
  try {
    group = server === null ? null : new CommandGroup(server, limits)
    const [launcher = '', ...before] = [...sandbox.enter, sandbox.launcher]
    child = spawn(launcher, [...before, ...all], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: [
        ...(['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'] as const),
        ...mounts,
        ...(blocks ? (['pipe'] as const) : []),
      ],
    })
  } finally {
    for (const descriptor of mounts) closeSync(descriptor)
  }
  const { stdout, stderr } = child
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
    ...{ stdout, stderr, pid, facts, group, lives },
    exited: exit.then(async () => {
      await Promise.all([missing.closed, status.closed])
      const exitCode = numberIn(status.soFar(), 'exit-code')
      if (missing.soFar() !== '') {
        return { end: 'not_found', message: `The program ${file} is not found` }
      }
      // bwrap itself failed. What it printed is the output of the call.
      if (exitCode === null) return { end: 'not_isolated', message: '' }
      return { end: 'exited', exitCode }
    }),
    namespace: () => {
      const of = init()
      if (namespace === null && of !== null) namespace = namespaceOf(of)
      return namespace
    },
    terminate: async () => {
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

const untilExit = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })

/** The id of a process that was started. Rejects if it was not. */
async function spawned(child: ChildProcess): Promise<number> {
  await once(child, 'spawn')
  child.on('error', () => {})
  if (child.pid === undefined) throw new Error('it has no process id')
  return child.pid
}

/** The error of a process that could not be started. */
const failureOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) => child.once('error', resolve))

/** Where a program is; null if it is nowhere on the PATH of the command. */
function programOf({ file, env, cwd }: StartRequest): string | null {
  const folders = file.includes('/') ? [cwd] : (env.PATH ?? '').split(':')
  const paths = folders.map((folder) => resolve(folder, file))
  return paths.find((path) => isExecutable(path)) ?? null
}

async function whyNotStarted(file: string, cwd: string, cause: unknown): Promise<NotStarted> {
  const message = messageOf(cause)
  if (cause instanceof SandboxError) return notIsolated(message)
  const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
  if (!missing) {
    const shortage = shortageOf(cause)
    return {
      end: 'not_started',
      message: `${file} cannot be started: ${message}`,
      ...(shortage === null ? {} : { shortage }),
    }
  }
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
  timeoutMs: number,
): Promise<'exited' | StopCause> {
  const end = await exitOrStop(exited, stopped, timeoutMs)
  // A command that uses too much gets no time to use still more.
  if (end !== 'exited' && !AT_ONCE.has(end)) {
    await terminate()
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
  timeoutMs: number,
): Promise<'exited' | StopCause> {
  const { promise: late, resolve } = Promise.withResolvers<StopCause>()
  const timer = setTimeout(resolve, Math.min(timeoutMs, MAX_TIMER_MS), 'timed_out')
  const end = await Promise.race([exited.then(() => 'exited' as const), stopped, late])
  clearTimeout(timer)
  return end
}

/** Whether a promise, which never rejects, settles in time. */
async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const late = pause(ms, false, { signal: timer.signal }).catch(() => false)
  const inTime = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return inTime
}
