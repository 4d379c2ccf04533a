import type { IsolationPolicy } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import type { CommandLimits, CommandResult } from './command.ts'
import type { Isolation } from './isolation/isolation.ts'
import { type Program, prepareCall, refusalOf } from './prepare-call.ts'
import type { NotStarted } from './protocol.ts'
import { callThatEnded, type Runner, type RunningCall } from './runner.ts'

/** A program that works beside others until it ends or is stopped, such as a server. Aborting `signal` stops it. */
export type ProcessRequest = Program & {
  /** It may run until it is stopped if this is left out. */
  readonly timeoutMs?: number
  /**
   * How many bytes of each stream are needed: the middle of a flood is dropped. If this is left out, nothing is
   * dropped: a process whose output nobody reads waits until somebody does.
   */
  readonly keptBytes?: number
}

export type ProcessEnd = Pick<CommandResult, 'end' | 'exitCode' | 'shortage'> & {
  /** For people: why it was not started, or what it did before it was stopped at a limit; '' if it ended in another way. */
  readonly message: string
}

/**
 * A process with a standard input. `stdin` takes what the process reads, and writes wait as those to any stream; `stdin.end()`
 * ends the input. Nothing in `stdout` and `stderr` is masked: mask what becomes a record or an answer.
 */
export type RunningProcess = Pick<RunningCall, 'stdin' | 'stdout' | 'stderr'> & {
  /** Resolves when nothing of it lives. Never rejects. */
  readonly ended: Promise<ProcessEnd>
  /** Ends it with all that it has started: by SIGTERM, and a moment later by SIGKILL. */
  readonly stop: () => void
  /** Stops it because it printed more than `outputBytes`. */
  readonly stopFlood: () => void
  /** What it may print, if its reader limits that. */
  readonly outputBytes: number
  /** How it is isolated; undefined if it is not started. */
  readonly policy: IsolationPolicy | undefined
}

/** Starts a process. Never rejects: if it cannot be started, `ended` says why. */
export type StartProcess = (request: ProcessRequest) => Promise<RunningProcess>

/** Starts processes within these limits, each isolated like a command. They end with the runner and with the server. */
export const processStarter =
  (limits: CommandLimits, runner: Runner, isolation: Isolation): StartProcess =>
  async (request) => {
    const { signal, timeoutMs = null, keptBytes = Number.MAX_SAFE_INTEGER, onNotice } = request
    if (signal.aborted) return refused({ end: 'aborted', exitCode: null, message: '' })
    const prepared = await prepareCall(request, limits, isolation)
    if (prepared.isErr()) return refused(endOf(prepared.error))
    const { outputBytes, policy, done } = prepared.value
    const start = { ...prepared.value.request, timeoutMs, keptBytes, hasInput: true }
    const call = runner.start(start, onNotice)
    const onAbort = (): void => call.stop('aborted')
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    const ended = call.ended.then(async (end): Promise<ProcessEnd> => {
      signal.removeEventListener('abort', onAbort)
      await done(end.end === 'exited')
      if ('message' in end) return endOf(end)
      const exitCode = end.end === 'exited' ? end.exitCode : null
      return { end: end.end, exitCode, message: ('why' in end && end.why) || '' }
    })
    const { stdin, stdout, stderr } = call
    const stopFlood = (): void => call.stop('too_much_output')
    const streams = { stdin, stdout, stderr, ended }
    return { ...streams, stop: onAbort, stopFlood, outputBytes, policy: policy() }
  }

function endOf(refusal: NotStarted): ProcessEnd {
  const { end, message, shortage } = refusalOf(refusal, 'bubblewrap printed why')
  return { end, exitCode: null, message, ...present({ shortage }) }
}

const refused = (end: ProcessEnd): RunningProcess => ({
  ...callThatEnded(Promise.resolve(end)),
  ...{ stopFlood: () => {}, outputBytes: 0, policy: undefined },
})
