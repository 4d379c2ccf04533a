import { type ChildProcess, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
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
