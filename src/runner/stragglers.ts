import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, openSync, readFileSync, readSync } from 'node:fs'
import { processNames } from './process-watch.ts'

/**
 * Every command has this variable in its environment, and so do all its descendants. On Linux they are found by it in
 * /proc, even if they left the process group by setsid and a double fork. Elsewhere only the process group is known.
 */
const MARK = 'RETRAI_COMMAND_ID'
const HAVE_PROC = process.platform === 'linux'

/** The beginning of the mark of every command of this server process. */
const SERVER = randomUUID()
let count = 0

/** The beginning of the entry of every command of this server in an environment. */
const serverMark = `${MARK}=${SERVER}.`

export type Mark = { readonly [MARK]: string }

/** The entry of a mark in an environment. */
export const entryOf = (mark: Mark): string => `${MARK}=${mark[MARK]}`

/** Variables that mark one command. */
export function newMark(): Mark {
  count += 1
  return { [MARK]: `${SERVER}.${count}` }
}

function carries(pid: number, entry: string): boolean {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
    return environment.startsWith(entry) || environment.includes(`\0${entry}`)
  } catch {
    return false // gone, or of another user
  }
}

/** The first process of a command, with its mark. */
export type Origin = {
  readonly pid: number
  readonly mark: Mark
  /** When it was not started yet. */
  readonly before: number
}

/** The first processes of commands that run. None of them belongs to another command. */
const origins = new Set<number>()

/**
 * The processes with the mark of a command. Read synchronously, because this process has no other work, and
 * asynchronous reads take longer.
 */
function marked(origin: Origin): number[] {
  if (!HAVE_PROC) return []
  const entry = `${entryOf(origin.mark)}\0`
  const pids = madeSince(origin) ?? processNames().map(Number).filter(Number.isInteger)
  return pids.filter((pid) => carries(pid, entry))
}

/** For more numbers than this, it is cheaper to list the processes that exist. */
const MAX_NUMBERS = 256
/** More processes than any machine starts in a millisecond. */
const MAX_STARTS_PER_MS = 300

/**
 * The processes that can be descendants of this one, by the numbers that were given since; null if nobody can say. Most
 * commands are short, and the machine has many processes whose environments need not be read.
 */
function madeSince({ pid, before }: Origin): number[] | null {
  const last = lastPid()
  if (last === null || last < pid) return null
  const numbersMayRepeat = (performance.now() - before) * MAX_STARTS_PER_MS > numberCount()
  if (numbersMayRepeat) return null
  const isNew = (number: number): boolean => number > pid && number <= last && !origins.has(number)
  if (last - pid > MAX_NUMBERS) return processNames().map(Number).filter(isNew)
  const numbers = Array.from({ length: last - pid }, (_, index) => pid + 1 + index)
  return numbers.filter((number) => isNew(number) && existsSync(`/proc/${number}`))
}

let counted: number | undefined

/** How many numbers the kernel gives before it begins again. */
function numberCount(): number {
  counted ??= Number(readFileSync('/proc/sys/kernel/pid_max', 'latin1'))
  return counted
}

let lastPidFile: number | null | undefined
const lastPidText = Buffer.alloc(16)

/** The number of the process that was made last; null if the kernel does not report it. */
function lastPid(): number | null {
  try {
    lastPidFile ??= HAVE_PROC ? openSync('/proc/sys/kernel/ns_last_pid', 'r') : null
    if (lastPidFile === null) return null
    return Number(lastPidText.toString('latin1', 0, readSync(lastPidFile, lastPidText, 0, 16, 0)))
  } catch {
    lastPidFile = null
    return null
  }
}

/** Remembers the first process of a command until `killDescendants`. */
export function originOf(pid: number, mark: Mark, before: number): Origin {
  origins.add(pid)
  return { pid, mark, before }
}

/** Sends a signal to the process group of a command and to all living processes with its mark. */
export function signalCommand(origin: Origin, signal: NodeJS.Signals): void {
  sendSignal(-origin.pid, signal)
  for (const pid of marked(origin)) sendSignal(pid, signal)
}

const MAX_ROUNDS = 20

/** Kills all processes of a command, again and again while they fork, until none is found. */
export function killCommand(origin: Origin, hasExited: boolean): void {
  origins.delete(origin.pid)
  if (hasExited && madeSince(origin)?.length === 0) return
  sendSignal(-origin.pid, 'SIGKILL')
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const pids = marked(origin)
    if (pids.length === 0) return
    for (const pid of pids) sendSignal(pid, 'SIGKILL')
  }
}

/** Sends a signal to a process, or with `-pid` to its group; false if there is none. */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/**
 * Waits on a pipe that closes when this server ends in any way, then kills all processes with the server's mark, again
 * and again while they fork.
 */
const SCRIPT = `
read -r _
for round in 1 2 3 4 5 6 7 8 9 10; do
  found=$(grep -lsF -- "$0" /proc/[0-9]*/environ)
  [ -n "$found" ] || exit 0
  for file in $found; do
    pid=\${file#/proc/}
    kill -9 "\${pid%/environ}" 2>/dev/null
  done
done
`

let started = false

/**
 * Ends all commands when this server ends, even by SIGKILL. One small shell per server, on Linux. It keeps no process
 * alive and costs a command nothing. Idempotent, best effort.
 */
export function startReaper(): void {
  if (started || process.platform !== 'linux') return
  started = true
  const reaper = spawn('/bin/sh', ['-c', SCRIPT, serverMark], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: process.env.PATH },
  })
  const ignore = () => {}
  reaper.on('error', ignore).unref()
  reaper.stdin.on('error', ignore)
  // A pipe to a child is a socket; unref lets this process end while it is open.
  if ('unref' in reaper.stdin && typeof reaper.stdin.unref === 'function') reaper.stdin.unref()
}
