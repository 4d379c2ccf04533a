import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import type { Duplex } from 'node:stream'
import { REPORT_FD } from '../../sandbox/container-shell.ts'
import { openFolder } from '../../sandbox/project-folder.ts'
import { openProject, type PolicyFacts } from '../../sandbox/sandbox.ts'
import { restricted } from '../../sandbox/setpriv.ts'
import { isExecutable } from '../../sandbox/system.ts'
import {
  type CommandGroup,
  killAll,
  processes,
  sendSignal,
  sessionGivesWay,
  statOf,
  textOf,
} from '../processes.ts'
import type { Ended, NotStarted, StartRequest } from '../protocol.ts'
import {
  pipeText,
  reportIn,
  type Started,
  settledWithin,
  startPiped,
  untilExit,
} from './process.ts'

/** Starts a command in the namespaces of the server, in a group of its own. Its processes are found by their mark. */
export async function startPlain(
  request: StartRequest,
  group: CommandGroup | null,
): Promise<Started | NotStarted> {
  const { file, args, cwd, sandbox, project, folder } = request
  if (sandbox === null && folder === undefined) return startMarked(request, group, null)
  const found = programOf(request)
  if (sandbox !== null && found === null) {
    return { end: 'not_found', message: `The program ${file} is not found` }
  }
  using opened = sandbox === null ? openFolder(project, folder ?? null) : openProject(sandbox)
  // It leads to the open project whatever happens to its name.
  const real = process.platform === 'linux' ? `/proc/self/fd/${opened.descriptor}` : project
  const rest = relative(project, cwd)
  const isOutside = rest.startsWith('..')
  if (sandbox === null || !('user' in opened)) {
    return await startMarked({ ...request, cwd: isOutside ? cwd : join(real, rest) }, group, null)
  }
  const move = rest === '' ? [] : ['/bin/sh', '-c', MOVE, 'sh', isOutside ? cwd : rest]
  const launch = restricted(sandbox, opened, [...move, found ?? '', ...args])
  const launched = { ...request, file: sandbox.launcher, args: launch.args, cwd: real }
  return await startMarked(launched, group, launch.facts)
}

/** A restricted command moves on from the project to where it starts. */
const MOVE = 'cd -- "$1" || exit 126; shift; exec "$@"'

/** It becomes the command when the runner answers. If the runner dies before, it runs nothing. */
const AT_GATE = `read -r _ <&${REPORT_FD} || exit 125`
const CLOSE_GATE = `exec ${REPORT_FD}<&-`

/** A command that waits until it is in its control group: what it starts before would stay outside, without limits. */
function gated(request: StartRequest): StartRequest {
  const found = programOf(request)
  // Starting it will fail, and its error says why.
  if (found === null) return request
  const script = [AT_GATE, ...(request.reports ? [] : [CLOSE_GATE]), 'exec "$@"'].join('; ')
  return { ...request, file: '/bin/sh', args: ['-c', script, 'sh', found, ...request.args] }
}

/** Time for a report to arrive after all that could write it was killed. */
const REPORTED_MS = 1_000

async function startMarked(
  request: StartRequest,
  group: CommandGroup | null,
  facts: PolicyFacts | null,
): Promise<Started> {
  const { file, args, cwd, env, hasInput = false, reports = false } = gated(request)
  const mark = new Mark()
  const { child, pid, stdin, stdout, stderr } = await startPiped(hasInput, (stdio) =>
    spawn(file, args, {
      cwd,
      env: { ...env, ...mark.variables },
      detached: true,
      stdio: [...stdio, 'pipe'],
    }),
  )
  const exited = untilExit(child).then((exitCode): Ended => ({ end: 'exited', exitCode }))
  preferForKilling(pid)
  sessionGivesWay(pid)
  const gate = child.stdio[REPORT_FD] as unknown as Duplex
  gate.on('error', () => {})
  try {
    group?.add(pid)
    gate.end('begin\n')
  } catch (cause) {
    // Its gate stays closed for ever.
    for (const stream of [gate, stdin, stdout, stderr]) stream?.destroy()
    throw cause
  }
  const reported = reports ? pipeText(gate) : null
  return {
    stdin,
    stdout,
    stderr,
    exited,
    facts,
    group,
    // A process of root may move to another control group.
    pids: () => mark.pids(pid),
    report: async () => {
      if (reported === null) return null
      // What did not end with the command may keep the pipe open.
      if (!(await settledWithin(reported.closed, REPORTED_MS))) reported.destroy()
      return reportIn(reported)
    },
    terminate: () => sendSignal(-pid, 'SIGTERM'),
    lives: () => sendSignal(-pid, 0),
    kill: async () => {
      mark.kill(pid)
      group?.killAll()
    },
  }
}

/** If the machine runs out of memory, the kernel ends commands before it ends the server. */
function preferForKilling(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '500')
  } catch {
    // It has ended already, or this is not Linux.
  }
}

/** Where a program is; null if it is nowhere on the PATH of the command. */
function programOf({ file, env, cwd }: StartRequest): string | null {
  const folders = file.includes('/') ? [cwd] : (env.PATH ?? '').split(':')
  const paths = folders.map((folder) => resolve(folder, file))
  return paths.find((path) => isExecutable(path)) ?? null
}

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
