import { spawn } from 'node:child_process'
import { serverMark } from './stragglers.ts'

/**
 * Waits on a pipe that closes when this server is gone, however it went, then kills all that carries
 * the server's mark, again and again while it forks.
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
 * Sees to it that commands end with this server even where it is killed by SIGKILL. One small shell
 * per server, on Linux; it keeps nothing alive and costs a command nothing. Idempotent, best effort.
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
