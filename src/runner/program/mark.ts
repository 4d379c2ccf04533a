import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { killAll, processes, sendSignal, statOf, textOf } from '../processes.ts'

/**
 * Every command without a container has this variable in its environment, and so do all its descendants. On Linux they are
 * found by it in /proc, even if they left the process group by setsid and a double fork. Elsewhere only the process group is
 * known. What makes a container has it, too: a container ends with its bwrap, because the kernel sends it a signal then,
 * but the kernel knows of that only after some milliseconds.
 */
const VARIABLE = 'RETRAI_COMMAND_ID'

/** The beginning of the mark of every command of this server process. */
const SERVER = randomUUID()
let commands = 0

/** The beginning of the entry of every command of this server in an environment. */
const serverMark = `${VARIABLE}=${SERVER}.`

/** The mark of one command. */
export class Mark {
  /** What marks it in the environment of its processes. */
  readonly variables: Readonly<Record<string, string>>
  readonly #entry: string

  constructor() {
    commands += 1
    this.variables = { [VARIABLE]: `${SERVER}.${commands}` }
    this.#entry = `${serverMark}${commands}`
  }

  /** The living processes that have the mark, or are in the session that the first process leads. */
  pids(first: number): number[] {
    if (process.platform !== 'linux') return []
    return processes().filter((pid) => {
      const stat = statOf(pid)
      if (stat === null || stat.state === 'Z') return false
      if (stat.session === first) return true
      return `\0${textOf(pid, 'environ')}`.includes(`\0${this.#entry}\0`)
    })
  }

  /** Kills all of them, again and again while they fork, until none is found. */
  kill(first: number): void {
    sendSignal(-first, 'SIGKILL')
    killAll(() => {
      try {
        return this.pids(first)
      } catch {
        return [] // this process is out of descriptors
      }
    })
  }
}

/**
 * Waits on a pipe that closes when this server ends in any way, then kills all processes with the server's mark, for a
 * second: they may fork, and a process that starts another program has no environment for a moment.
 */
const SCRIPT = `
read -r _
for round in 1 2 3 4 5 6 7 8 9 10; do
  found=$(grep -lsF -- "$0" /proc/[0-9]*/environ)
  for file in $found; do
    pid=\${file#/proc/}
    kill -9 "\${pid%/environ}" 2>/dev/null
  done
  sleep 0.1
done
`

/**
 * Ends all commands when this server ends, even by SIGKILL. One small shell per server, on Linux. It keeps no process
 * alive and costs a command nothing. Best effort.
 */
export function startReaper(): void {
  if (process.platform !== 'linux') return
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
