import { type ChildProcess, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find(isOfUtilLinux)

/**
 * Starts a module as a small process of its own, without an environment and with a pipe at descriptor 3. It ends with
 * this process, also if it is stopped by a signal.
 */
export function startHelper(program: URL, cwd: string): ChildProcess {
  const node = [process.execPath, '--max-old-space-size=64', fileURLToPath(program)]
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
