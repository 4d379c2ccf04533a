import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
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

/** The entry of a mark in an environment. */
export const entryOf = (mark: ReturnType<typeof newMark>): string => `${MARK}=${mark[MARK]}`

/** Variables that mark one command. */
export function newMark(): { readonly [MARK]: string } {
  count += 1
  return { [MARK]: `${SERVER}.${count}` }
}

function carries(pid: string, entry: string): boolean {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
    return environment.startsWith(entry) || environment.includes(`\0${entry}`)
  } catch {
    return false // gone, or of another user
  }
}

/** The living processes with a mark. Read at once: this process has no other work, and jobs for each file take longer. */
function marked(mark: ReturnType<typeof newMark>): number[] {
  if (!HAVE_PROC) return []
  const entry = `${entryOf(mark)}\0`
  const pids = processNames().filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => carries(pid, entry)).map(Number)
}

/** Sends a signal to all living processes with a mark; returns their number. */
export function signalMarked(mark: ReturnType<typeof newMark>, signal: NodeJS.Signals): number {
  const pids = marked(mark)
  for (const pid of pids) sendSignal(pid, signal)
  return pids.length
}

const MAX_ROUNDS = 20

/** Kills all processes with a mark, again and again while they fork, until none is found. */
export function killMarked(mark: ReturnType<typeof newMark>): void {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    if (signalMarked(mark, 'SIGKILL') === 0) return
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
