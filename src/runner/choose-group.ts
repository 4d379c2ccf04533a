import { err, ok, type Result } from 'neverthrow'
import { makeControlGroup, removeControlGroup } from './cgroup.ts'
import type { ControlGroup, Limits } from './protocol.ts'
import type { Runner } from './runner.ts'

const WITHIN_MS = 10_000
/** Ends well when the shell finds itself in the control group named `$1`. */
const SCRIPT = 'grep -q "/$1/" /proc/self/cgroup'

/**
 * Makes the control group of a server and tries it with a command. The error says why commands have none, as a part of a
 * sentence.
 */
export async function chooseControlGroup(
  runner: Runner,
  limits: Limits,
): Promise<Result<ControlGroup, string>> {
  const made = makeControlGroup(limits.all)
  if (made.isErr()) return err(made.error)
  const args = ['-c', SCRIPT, 'sh', `retrai-${process.pid}`]
  const call = runner.start({
    ...{
      file: '/bin/sh',
      args,
      cwd: '/',
      project: '/',
      env: { PATH: '/usr/bin:/bin' },
      timeoutMs: WITHIN_MS,
      keptBytes: 0,
    },
    ...{ limits, group: made.value, sandbox: null },
  })
  call.stdout.resume()
  call.stderr.resume()
  const ended = await call.ended
  if (ended.end === 'exited' && ended.exitCode === 0) return ok(made.value)
  removeControlGroup(made.value)
  return err(`a trial ended with ${ended.end}${'message' in ended ? `: ${ended.message}` : ''}`)
}
