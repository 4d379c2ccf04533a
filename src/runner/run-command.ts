import { totalmem } from 'node:os'
import { ok } from 'neverthrow'
import type { IsolationPolicy } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import { type Isolation, NO_ISOLATION } from '../sandbox/isolation.ts'
import type { Localhost } from '../sandbox/namespaces.ts'
import { EVERYTHING, notIsolated } from '../sandbox/sandbox.ts'
import {
  type Command,
  type CommandLimits,
  type CommandResult,
  commandEnvironment,
  DEFAULT_MAX_BYTES,
  policyOf,
  type RunCommand,
} from './command.ts'
import type { CallEnd, NotStarted } from './protocol.ts'
import { Runner } from './runner.ts'
import { callThatEnded, collectOutput, type RunningCall } from './streams.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
/** The memory of the machine or its container. */
const MEMORY_BYTES = Math.min(totalmem(), process.constrainedMemory() || totalmem())

/** One command may use half of the memory, all together three quarters; nothing else stops what test suites do. */
export const DEFAULT_LIMITS: CommandLimits = {
  memoryBytes: Math.floor(MEMORY_BYTES / 2),
  processes: 512,
  homeBytes: 4 * GIB,
  freeDiskBytes: 512 * MIB,
  all: { memoryBytes: Math.floor((MEMORY_BYTES * 3) / 4), processes: 4096 },
  outputBytes: 128 * MIB,
  group: null,
  variables: [],
}

/** For code that runs commands without a server. Its process starts with the first command. */
const ownRunner = new Runner({ error: () => {} })

/** Waits during a shortage; false if the command is given up. */
type WaitFor = (shortage: string, signal: AbortSignal) => Promise<boolean>

/**
 * Runs commands within these limits, each in a process group of its own.
 * @param waitFor called if a command cannot start because the system is short of something, before it is tried again
 */
export const commandRunner =
  (
    limits: CommandLimits,
    runner: Runner = ownRunner,
    isolation = NO_ISOLATION,
    waitFor: WaitFor = async () => false,
  ): RunCommand =>
  async (command) => {
    for (;;) {
      const result = await run(command, { limits, runner, isolation })
      const { shortage } = result
      if (shortage === undefined) return result
      if (await waitFor(shortage, command.signal)) continue
      return command.signal.aborted ? { ...result, end: 'aborted' } : result
    }
  }

/** Runs commands within the default limits. */
export const runCommand: RunCommand = commandRunner(DEFAULT_LIMITS)

async function run(command: Command, by: StartedBy): Promise<CommandResult> {
  const begun = performance.now()
  const { timeoutMs, maxBytes = DEFAULT_MAX_BYTES, onOutput } = command
  const { call, ended: untilEnded, ...started } = await start(command, { timeoutMs }, by)
  const output = collectOutput(call, maxBytes, {
    maxTotalBytes: started.outputBytes,
    onTooMuch: () => call.stop('too_much_output'),
    ...present({ onOutput }),
  })
  const ended = await untilEnded
  await output.closed
  const durationMs = Math.round(performance.now() - begun)
  if ('message' in ended) {
    const { end, message, shortage } = refusalOf(ended, output.stderr.text())
    const texts = { stdout: '', stderr: message, output: message }
    const bytes = Buffer.byteLength(message)
    return { end, exitCode: null, ...texts, bytes, durationMs, ...present({ shortage }) }
  }
  const hasExited = ended.end === 'exited'
  return {
    end: ended.end,
    exitCode: hasExited ? ended.exitCode : null,
    stdout: output.stdout.text(),
    stderr: output.stderr.text(),
    output: output.both.text(),
    bytes: output.bytes(),
    durationMs,
    ...present({ why: 'why' in ended ? ended.why : null, report: hasExited ? ended.report : null }),
    ...present({ policy: started.policyAfter(ended) }),
  }
}

/** What runs, where, and what it may see and use. */
type Program = Omit<Command, 'timeoutMs' | 'maxBytes' | 'onOutput'>

/** What starts programs, isolates them, and limits them. */
type StartedBy = {
  readonly limits: CommandLimits
  readonly runner: Runner
  readonly isolation: Isolation
}

/** A program that the runner was asked to start. */
type Started = {
  readonly call: RunningCall
  /** Resolves when nothing of it lives, and what was made for it is removed. Never rejects. */
  readonly ended: Promise<CallEnd>
  readonly outputBytes: number
  /** How it will be isolated; undefined if it cannot be. */
  readonly policy: () => IsolationPolicy | undefined
  /** How it was isolated; undefined if that is not known. */
  readonly policyAfter: (ended: CallEnd) => IsolationPolicy | undefined
}

const unknown = () => undefined

function refused(end: CallEnd): Started {
  const call = callThatEnded(end)
  return { call, ended: call.ended, outputBytes: 0, policy: unknown, policyAfter: unknown }
}

/** Isolates a program as its run asks for, and starts it or refuses it. If its signal aborts, it is stopped. */
async function start(
  program: Program,
  how: { readonly timeoutMs: number | null; readonly hasInput?: boolean },
  { limits, runner, isolation: own }: StartedBy,
): Promise<Started> {
  const { file, args, cwd, project = cwd, atLeast, signal, network = 'none' } = program
  if (signal.aborted) return refused({ end: 'aborted' })
  const enough = atLeast === undefined ? ok(own) : await own.atLeast(atLeast)
  if (enough.isErr()) return refused({ end: 'not_isolated', message: enough.error })
  const isolation = enough.value
  if (isolation.level === null) return refused({ end: 'not_isolated', message: isolation.detail })
  const { outputBytes, group, variables: _, all: __, ...kept } = limits
  const ownEnv = commandEnvironment(process.env, program.env)
  const prepared = await isolation.prepare(program, ownEnv)
  const { env, sandbox } = prepared ?? { env: ownEnv, sandbox: null }
  const memoryBytes = Math.min(limits.memoryBytes, program.maxMemoryBytes ?? limits.memoryBytes)
  const call = runner.start(
    {
      file,
      args,
      cwd,
      project,
      env,
      limits: { ...kept, memoryBytes },
      group,
      sandbox,
      ...present({ localhost: localhostOf(program), folder: program.folder }),
      ...present({ reports: program.reports }),
      ...how,
    },
    program.onNotice,
  )
  const onAbort = (): void => call.stop('aborted')
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  return {
    call,
    outputBytes,
    ended: call.ended.then(async (end) => {
      signal.removeEventListener('abort', onAbort)
      await prepared?.done(end.end === 'exited')
      if (end.end !== 'too_much_output') return end
      return { ...end, why: `printed more than ${Math.round(outputBytes / MIB)} MiB` }
    }),
    policy: () => {
      try {
        return policyOf(isolation, isolation.factsFor(project, network), limits, program.network)
      } catch {
        return undefined // the project is gone: it will not start
      }
    },
    policyAfter: (ended) => {
      const facts = ended.end === 'lost' ? undefined : sandbox === null ? EVERYTHING : ended.facts
      return facts && policyOf(isolation, facts, limits, program.network)
    },
  }
}

/** Only commands of the same run that may reach the same hosts share a network. */
const localhostOf = ({ run, localhost, network = 'none' }: Program): Localhost | undefined =>
  run === undefined || localhost === undefined
    ? undefined
    : { key: JSON.stringify([run, network]), opens: localhost === 'opens' }

/** How bwrap, and the programs before it, name a lack of descriptors. */
const SHORT_OF_FILES = /: Too many open files( in system)?$/m

/** Why a program did not start. Without a message, bwrap failed, and printed why. */
function refusalOf(refusal: NotStarted, printed: string): NotStarted {
  if (refusal.message !== '') return refusal
  const isShort = SHORT_OF_FILES.test(printed)
  return { ...notIsolated(printed), ...(isShort && { shortage: 'EMFILE' }) }
}

/** A program that works beside others until it ends or is stopped, such as a server. Aborting `signal` stops it. */
export type ProcessRequest = Program & {
  /** It may run until it is stopped if this is left out. */
  readonly timeoutMs?: number
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
    const how = { timeoutMs: request.timeoutMs ?? null, hasInput: true }
    const { call, ended, outputBytes, policy } = await start(request, how, {
      limits,
      runner,
      isolation,
    })
    const { stdin, stdout, stderr } = call
    return {
      stdin,
      stdout,
      stderr,
      outputBytes,
      ended: ended.then(processEnd),
      policy: policy(),
      stop: () => call.stop('aborted'),
      stopFlood: () => call.stop('too_much_output'),
    }
  }

function processEnd(ended: CallEnd): ProcessEnd {
  if ('message' in ended) {
    const { end, message, shortage } = refusalOf(ended, 'bubblewrap printed why')
    return { end, exitCode: null, message, ...present({ shortage }) }
  }
  const exitCode = ended.end === 'exited' ? ended.exitCode : null
  return { end: ended.end, exitCode, message: ('why' in ended && ended.why) || '' }
}
