import { type ChildProcess, spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs'
import { setPriority } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find(isOfUtilLinux)

/**
 * Such a process starts others, and a fork copies the tables of all its memory: so it has little of it, and V8 has no
 * threads, whose work costs more than it saves here.
 */
const SMALL = ['--max-old-space-size=64', '--max-semi-space-size=1', '--single-threaded']

/**
 * Starts a module as a small process of its own, without an environment and with a pipe at descriptor 3. It ends with
 * this process, also if it is stopped by a signal.
 */
export function startHelper(program: URL, cwd: string): ChildProcess {
  const node = [process.execPath, ...SMALL, fileURLToPath(program)]
  const [file = '', ...args] =
    SETPRIV === undefined ? node : [SETPRIV, '--pdeathsig', 'KILL', '--', ...node]
  return spawn(file, args, {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    env: {},
    cwd,
    // A Ctrl-C in a terminal is for the server, which stops its commands itself.
    detached: true,
  })
}

/** The setpriv of BusyBox has no option for a signal at the death of a parent. */
function isOfUtilLinux(path: string): boolean {
  try {
    return basename(realpathSync(path)) === 'setpriv'
  } catch {
    return false
  }
}

/** Called first in such a process: closes what was left open by the process that started the server, except the pipe at 3: commands would inherit it. */
export function closeInherited(): void {
  const O_CLOEXEC = 0o2000000
  const folder = '/proc/self/fdinfo'
  if (!existsSync(folder)) return
  for (const descriptor of readdirSync(folder)
    .map(Number)
    .filter((number) => number > 3)) {
    try {
      const flags = /^flags:\s+([0-7]+)$/m.exec(
        readFileSync(`${folder}/${descriptor}`, 'utf8'),
      )?.[1]
      // Node and libuv mark all of their own.
      if (flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0)
        closeSync(descriptor)
    } catch {
      // It was the one that read the folder.
    }
  }
}

/** Between 0 and 19: the server gets about five times the processor time of a command when both want it. */
const NICENESS = 7

/**
 * Gives the server precedence on a busy machine: the runner, and all that it starts, use the processor time that the
 * server leaves. Otherwise, many commands at once would delay every request.
 */
export function giveWay(): void {
  setPriority(NICENESS)
  sessionGivesWay('self')
}

/** The session of a process, for the sharing out of the processor. */
export const SESSION = '/proc/self/autogroup'

/**
 * Where Linux shares the processor out by sessions, only the niceness of a session counts against others. A new session
 * begins without one: that of the runner, and that of each command.
 * @param pid a process of the session
 */
export function sessionGivesWay(pid: number | 'self'): void {
  try {
    writeFileSync(SESSION.replace('self', String(pid)), String(NICENESS))
  } catch {
    // Linux does not do so here, or the process has ended.
  }
}

/** How often the other end is asked, and how many questions it may leave open. */
export type Patience = { readonly everyMs: number; readonly questions: number }

/** A process on a busy machine may need seconds. */
export const PATIENCE: Patience = { everyMs: 5_000, questions: 6 }

/**
 * Detects a process that lives but does not work, for instance because it was stopped by a signal. It counts unanswered
 * questions, not time: if this process was stopped itself, the other one has not failed.
 */
export class Heartbeat {
  readonly #patience: Patience
  readonly #ask: () => void
  readonly #onSilence: () => void
  #open = 0
  #timer: ReturnType<typeof setInterval> | null = null

  /** @param ask sends something that is answered */
  constructor(patience: Patience, ask: () => void, onSilence: () => void) {
    this.#patience = patience
    this.#ask = ask
    this.#onSilence = onSilence
  }

  /** Begins to ask, if it does not already. */
  start(): void {
    this.#timer ??= setInterval(() => this.#beat(), this.#patience.everyMs).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#open = 0
  }

  /** Something came from the other end. */
  heard(): void {
    this.#open = 0
  }

  #beat(): void {
    if (this.#open >= this.#patience.questions) {
      this.stop()
      this.#onSilence()
      return
    }
    this.#open += 1
    this.#ask()
  }
}
