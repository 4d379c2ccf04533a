import { type ChildProcess, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import type { Socket } from 'node:net'
import { basename } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Notice } from '../domain/records.ts'
import type { Logger } from '../lib/logger.ts'
import { MessageReader, messageBytes } from '../lib/messages.ts'
import { siblingModule } from '../lib/paths.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import type { Tried } from '../sandbox/trial.ts'
import { notStarted } from './command.ts'
import type { FromRunner, Limits, RunnerCrash, StartRequest, ToRunner } from './protocol.ts'
import { Call, callThatEnded, collectOutput, type RunningCall, type Send } from './streams.ts'

const TRIAL_MS = 20_000
const TRIAL_BYTES = 64 * 1024
const MIB = 1024 * 1024
const TRIAL_LIMITS: Limits = {
  memoryBytes: 512 * MIB,
  processes: 64,
  homeBytes: 512 * MIB,
  freeDiskBytes: 0,
}

/** Starts commands in the runner, a process that starts at once and, after its death, with the next command. */
export class Runner {
  readonly #log: Pick<Logger, 'error'>
  #process: RunnerProcess | null = null

  constructor(log: Pick<Logger, 'error'>) {
    this.#log = log
  }

  /** @param onNotice called with what the run records beside the result, before the call ends */
  start(request: StartRequest, onNotice: (notice: Notice) => void = () => {}): RunningCall {
    try {
      return this.connect().start(request, onNotice)
    } catch (cause) {
      return withoutRunner(cause)
    }
  }

  /** Runs a script as a trial of a sandbox. */
  async try(sandbox: Sandbox, script: string, args: readonly string[]): Promise<Tried> {
    const call = this.start({
      file: '/bin/sh',
      args: ['-c', script, 'sh', ...args],
      cwd: sandbox.project,
      project: sandbox.project,
      env: { PATH: '/usr/bin:/bin' },
      timeoutMs: TRIAL_MS,
      group: null,
      limits: TRIAL_LIMITS,
      sandbox,
    })
    const output = collectOutput(call, TRIAL_BYTES, {
      maxTotalBytes: TRIAL_BYTES,
      onTooMuch: () => call.stop('too_much_output'),
    })
    const ended = await call.ended
    await output.closed
    return { message: '', ...ended, stdout: output.stdout.text(), stderr: output.stderr.text() }
  }

  /** Lets the process die or stop at a moment of the next command, for tests. */
  crash(crash: RunnerCrash): void {
    this.connect().send({ type: 'crash', crash })
  }

  /** How many commands run now. Programs without a limit of time, such as servers, are not commands. */
  get commands(): number {
    return this.#process?.commands ?? 0
  }

  /** Process id of the runner; null while it is not started. */
  get pid(): number | null {
    return this.#process?.pid ?? null
  }

  /** Ends the runner and all commands that it runs. */
  close(): void {
    this.#process?.close()
    this.#process = null
  }

  /** The process, which is started now if there is none. Throws what `spawn` throws. */
  connect(): RunnerProcess {
    if (this.#process !== null) return this.#process
    const started = new RunnerProcess((lost, how) => {
      if (this.#process !== started) return
      // At once: the next command needs another process.
      this.#process = null
      void how.then((how) => {
        this.#log.error(
          { pid: started.pid, how, commands: lost },
          'the process that runs commands has died: what its commands did is not known',
        )
      })
    })
    // One that could not be started is replaced by the next command.
    if (started.pid !== null) this.#process = started
    return started
  }
}

/** A command whose runner cannot be started, with the reason. */
const withoutRunner = (cause: unknown): RunningCall =>
  callThatEnded(notStarted('The process that runs commands cannot be started', cause))

/** How long at most after the end of its pipe the end of a process is reported. */
const EXIT_MS = 1_000
/** How often the runner is asked, and how many questions it may leave open: on a busy machine, it may need seconds. */
const ASKED_EVERY_MS = 5_000
const OPEN_QUESTIONS = 6

/** A process that runs commands: its pipe, and the calls under way. */
class RunnerProcess {
  readonly #child = startProgram()
  /** Missing if there were no descriptors left for it. */
  readonly #pipe = this.#child.stdio?.[3] as Socket | undefined
  /** Resolves to the cause if the process could not be started. */
  readonly #failed: Promise<unknown>
  readonly #calls = new Map<number, { readonly call: Call; readonly isCommand: boolean }>()
  #count = 0
  #beat: ReturnType<typeof setInterval> | null = null
  /** Questions without an answer. Time is not counted: if this process was stopped itself, the other has not failed. */
  #unanswered = 0

  /** @param onDeath called with the number of commands that were running, and the exit code or signal, which come later */
  constructor(onDeath: (lost: number, how: Promise<string>) => void) {
    this.#failed = new Promise((resolve) => this.#child.on('error', resolve))
    const ended = new Promise<string>((resolve) => {
      this.#child.once('exit', (code, signal) => {
        const isSilent = this.#unanswered > OPEN_QUESTIONS
        resolve(isSilent ? 'it did not answer' : String(signal ?? code))
      })
    })
    const reader = new MessageReader()
    this.#pipe?.on('data', (chunk: Buffer) => {
      this.#unanswered = 0
      for (const { head, body } of reader.read(chunk)) this.#take(head as FromRunner, body)
    })
    this.#pipe?.on('error', () => {})
    this.#pipe?.once('close', () => {
      const lost = [...this.#calls.values()]
      this.#calls.clear()
      // The pipe may close before the exit is reported.
      onDeath(lost.length, Promise.race([ended, pause(EXIT_MS, 'unknown', { ref: false })]))
      for (const { call } of lost) call.end({ end: 'lost' })
      this.#rest()
    })
    this.#child.unref()
    this.#rest()
  }

  get pid(): number | null {
    return this.#child.pid ?? null
  }

  get commands(): number {
    return [...this.#calls.values()].filter(({ isCommand }) => isCommand).length
  }

  start(request: StartRequest, onNotice: (notice: Notice) => void): RunningCall {
    if (this.#pipe === undefined || this.pid === null) {
      return callThatEnded(this.#failed.then((cause) => withoutRunner(cause).ended))
    }
    this.#count += 1
    const id = this.#count
    const send: Send = (message, body) => {
      if (this.#calls.has(id)) this.send(message, body)
    }
    const call = new Call(id, send, onNotice)
    this.#calls.set(id, { call, isCommand: request.timeoutMs !== null })
    this.#pipe.ref()
    this.#beat ??= setInterval(() => this.#ask(), ASKED_EVERY_MS).unref()
    this.send({ type: 'start', call: id, request })
    return call
  }

  send(message: ToRunner, body?: Buffer): void {
    this.#pipe?.write(messageBytes(message, body))
  }

  close(): void {
    this.#pipe?.destroy()
    this.#child.kill('SIGKILL')
  }

  /** Ends a process that lives but does not work, for instance because it was stopped by a signal. */
  #ask(): void {
    this.#unanswered += 1
    if (this.#unanswered > OPEN_QUESTIONS) this.#child.kill('SIGKILL')
    else this.send({ type: 'ping' })
  }

  /** Without commands, it need not answer, and keeps no process from ending. */
  #rest(): void {
    if (this.#beat !== null) clearInterval(this.#beat)
    this.#beat = null
    this.#pipe?.unref()
  }

  #take(message: FromRunner, body: Buffer): void {
    if (message.type === 'pong') return
    const known = this.#calls.get(message.call)
    if (message.type === 'end') this.#calls.delete(message.call)
    if (this.#calls.size === 0) this.#rest()
    known?.call.take(message, body)
  }
}

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find(isOfUtilLinux)

/**
 * The runner starts others, and a fork copies the tables of all its memory: so it has little of it, and V8 has no
 * threads, whose work costs more than it saves here.
 */
const SMALL = ['--max-old-space-size=64', '--max-semi-space-size=1', '--single-threaded']

/**
 * Starts the program of the runner, without an environment and with a pipe at descriptor 3. It ends with this process, also
 * if it is stopped by a signal.
 */
function startProgram(): ChildProcess {
  const program = siblingModule('runner-program', import.meta.url)
  const node = [process.execPath, ...SMALL, fileURLToPath(program)]
  const [file = '', ...args] =
    SETPRIV === undefined ? node : [SETPRIV, '--pdeathsig', 'KILL', '--', ...node]
  return spawn(file, args, {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    env: {},
    cwd: '/',
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
