import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { Readable, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { Notice } from '../domain/records.ts'
import type { Logger } from '../lib/logger.ts'
import { siblingModule } from '../lib/package-files.ts'
import { Call, type Lost } from './call.ts'
import { notStarted } from './command.ts'
import type { RunnerCrash } from './crash-moments.ts'
import { Heartbeat, PATIENCE, type Patience, startHelper } from './helper-process.ts'
import {
  type CallEnd,
  FRAME,
  type Frame,
  FrameReader,
  frame,
  type StartRequest,
  type StopCause,
} from './protocol.ts'

/** How long at most after the end of its pipe the end of a process is reported. */
const EXIT_MS = 1_000

/** A command that the runner starts. */
export type RunningCall = {
  /** Its standard input, if it has one. It fails when nothing reads it any more. */
  readonly stdin: Writable
  /** A stream of `OutputPiece`s. */
  readonly stdout: Readable
  readonly stderr: Readable
  /** Resolves when no process of the command is alive. Never rejects. */
  readonly ended: Promise<CallEnd | Lost>
  stop(cause: StopCause): void
}

/** Starts commands in the runner, a process that starts at once and, after its death, with the next command. */
export class Runner {
  readonly #log: Pick<Logger, 'info' | 'error'>
  readonly #program: URL
  readonly #patience: Patience
  #connection: Connection | null = null
  /** Resolves when the last death is logged; null if there was none. */
  #death: Promise<void> | null = null

  /**
   * @param program the module that the process runs
   * @param patience after which a process that does not answer is killed, and its commands with it
   */
  constructor(
    log: Pick<Logger, 'info' | 'error'>,
    program: URL = siblingModule('runner-process', import.meta.url),
    patience: Patience = PATIENCE,
  ) {
    this.#log = log
    this.#program = program
    this.#patience = patience
  }

  /** Starts the process now, not with the first command. Throws what `spawn` throws. */
  connect(): void {
    this.#connected()
  }

  /** @param onNotice called with what the run records beside the result, before the call ends */
  start(request: StartRequest, onNotice: (notice: Notice) => void = () => {}): RunningCall {
    try {
      return this.#connected().start(request, onNotice)
    } catch (cause) {
      return withoutRunner(Promise.resolve(cause))
    }
  }

  /** Lets the process die or stop at a moment of the next command, for tests. */
  crash(crash: RunnerCrash): void {
    this.#connected().crash(crash)
  }

  /** Process id of the runner; null if there is none now. */
  get pid(): number | null {
    return this.#connection?.pid ?? null
  }

  /** Ends the runner and all commands that it runs. */
  close(): void {
    this.#connection?.close()
    this.#connection = null
  }

  #connected(): Connection {
    if (this.#connection !== null) return this.#connection
    // One that could not be started is replaced by the next command.
    const connection = new Connection(this.#program, this.#patience, (lost, how) => {
      if (this.#connection !== connection) return
      // At once: the next command needs another process.
      this.#connection = null
      this.#death = how.then((how) => {
        this.#log.error(
          { pid: connection.pid, how, commands: lost },
          'the process that runs commands has died: what its commands did is not known',
        )
      })
    })
    const { pid } = connection
    if (pid === null) return connection
    this.#connection = connection
    void this.#death?.then(() => {
      this.#log.info({ pid }, 'the process that runs commands was started again')
    })
    return connection
  }
}

class Connection {
  readonly #child: ChildProcess
  readonly #pipe: Socket | undefined
  /** Resolves to the cause if the process could not be started. */
  readonly #failed: Promise<unknown>
  readonly #calls = new Map<number, Call>()
  readonly #heartbeat: Heartbeat
  #count = 0

  /** @param onDeath called with the number of commands that were running, and the exit code or signal, which come later */
  constructor(
    program: URL,
    patience: Patience,
    onDeath: (lost: number, how: Promise<string>) => void,
  ) {
    const child = startHelper(program, '/')
    this.#child = child
    // Without descriptors there are no pipes either.
    const pipe = child.stdio?.[3] as Socket | undefined
    this.#pipe = pipe
    let isSilent = false
    const ended = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => {
        resolve(isSilent ? 'it did not answer' : String(signal ?? code))
      })
    })
    const ping = (): void => void pipe?.write(frame(FRAME.ping, 0, ''))
    this.#heartbeat = new Heartbeat(patience, ping, () => {
      isSilent = true
      child.kill('SIGKILL')
    })
    this.#failed = new Promise((resolve) => child.on('error', resolve))
    const reader = new FrameReader()
    pipe?.on('data', (chunk: Buffer) => {
      this.#heartbeat.heard()
      for (const received of reader.read(chunk)) this.#take(received)
    })
    pipe?.on('error', () => {})
    pipe?.once('close', () => {
      this.#heartbeat.stop()
      const lost = [...this.#calls.values()]
      this.#calls.clear()
      // The pipe may close before the exit is reported.
      onDeath(lost.length, Promise.race([ended, pause(EXIT_MS, 'unknown', { ref: false })]))
      for (const call of lost) call.end({ end: 'lost' })
    })
    child.unref()
    this.#rest()
  }

  get pid(): number | null {
    return this.#child.pid ?? null
  }

  start(request: StartRequest, onNotice: (notice: Notice) => void): RunningCall {
    const pipe = this.#pipe
    if (pipe === undefined || this.pid === null) return withoutRunner(this.#failed)
    this.#count += 1
    const id = this.#count
    const call = new Call(
      id,
      (bytes) => {
        if (this.#calls.has(id)) pipe.write(bytes)
      },
      onNotice,
    )
    this.#calls.set(id, call)
    pipe.ref()
    this.#heartbeat.start()
    pipe.write(frame(FRAME.start, id, JSON.stringify(request)))
    const { stdin, stdout, stderr, ended } = call
    return {
      ...{ stdin, stdout, stderr, ended },
      stop: (cause) => {
        if (this.#calls.has(id)) pipe.write(frame(FRAME.stop, id, cause))
      },
    }
  }

  crash(crash: RunnerCrash): void {
    this.#pipe?.write(frame(FRAME.crash, 0, JSON.stringify(crash)))
  }

  close(): void {
    this.#pipe?.destroy()
    this.#child.kill('SIGKILL')
  }

  /** Without commands, it need not answer, and keeps no process from ending. */
  #rest(): void {
    this.#heartbeat.stop()
    this.#pipe?.unref()
  }

  #take({ type, call: id, payload }: Frame): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    if (type === FRAME.stdout) call.push('stdout', payload)
    else if (type === FRAME.stderr) call.push('stderr', payload)
    else if (type === FRAME.mutedStdout) call.push('stdout', payload, true)
    else if (type === FRAME.mutedStderr) call.push('stderr', payload, true)
    else if (type === FRAME.gap) {
      const stream = payload.readUInt8(0) === FRAME.stdout ? 'stdout' : 'stderr'
      call.drop(stream, payload.readDoubleBE(1))
    } else if (type === FRAME.window) call.widen(payload.readUInt32BE(1))
    else if (type === FRAME.inputEnd) call.refuseInput()
    else if (type === FRAME.notice) call.onNotice(JSON.parse(payload.toString()) as Notice)
    else if (type === FRAME.end) {
      this.#calls.delete(id)
      if (this.#calls.size === 0) this.#rest()
      call.end(JSON.parse(payload.toString()) as CallEnd)
    }
  }
}

/** A command whose runner cannot be started, with the reason. */
function withoutRunner(failed: Promise<unknown>): RunningCall {
  const what = 'The process that runs commands cannot be started'
  return callThatEnded(failed.then((cause): CallEnd => notStarted(what, cause)))
}

/** A call without a process. */
export function callThatEnded<End>(ended: Promise<End>) {
  const stdin = new Writable().on('error', () => {})
  stdin.destroy()
  return { stdin, stdout: Readable.from([]), stderr: Readable.from([]), ended, stop: () => {} }
}
