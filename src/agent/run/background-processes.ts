import { randomBytes } from 'node:crypto'
import type { Notice } from '../../domain/records.ts'
import { Signal } from '../../lib/signal.ts'
import type {
  ProcessEnd,
  ProcessRequest,
  RunningProcess,
  StartProcess,
} from '../../runner/run-command.ts'
import { BoundedText, collectOutput } from '../../runner/streams.ts'
import { Notices } from './notices.ts'

/** Processes of one run that live at the same time. */
const MAX_ALIVE = 8
/** Processes of one run that are known, with those that have ended. */
const MAX_KNOWN = 32
/** Bytes of output that nobody has read yet. If there are more, the middle is dropped. */
const UNREAD_BYTES = 256 * 1024

/**
 * The processes that the agent of one run has started in the background, while this server works on the run. None of
 * them lives longer than that.
 */
export class BackgroundProcesses implements AsyncDisposable {
  readonly #known = new Map<string, BackgroundProcess>()
  readonly #stop = new AbortController()
  /** What they did that the run has to record. */
  readonly notices = new Notices()

  /**
   * Starts a process for a call.
   * @returns null if too many live
   */
  async start(
    startProcess: StartProcess,
    request: Omit<ProcessRequest, 'signal' | 'onNotice'>,
    { callId, command }: { readonly callId: string; readonly command: string },
  ): Promise<BackgroundProcess | null> {
    if (this.#alive().length >= MAX_ALIVE) return null
    const process = await startProcess({
      ...request,
      signal: this.#stop.signal,
      onNotice: ({ kind, payload }) =>
        this.notices.add({ kind, payload: { ...payload, call_id: callId } } as Notice),
    })
    // No two processes of a run have the same id, even after a restart of the server, which does not know earlier ones.
    const started = new BackgroundProcess(`p-${randomBytes(6).toString('hex')}`, command, process)
    this.#known.set(started.id, started)
    for (const { id, end } of this.list()) {
      if (this.#known.size > MAX_KNOWN && end !== null) this.#known.delete(id)
    }
    return started
  }

  find(id: string): BackgroundProcess | undefined {
    return this.#known.get(id)
  }

  /** All that are known, the oldest first. */
  list(): readonly BackgroundProcess[] {
    return [...this.#known.values()]
  }

  #alive(): readonly BackgroundProcess[] {
    return this.list().filter(({ end }) => end === null)
  }

  /** Stops all of them. Resolves when none of their processes is alive. */
  async stopAll(): Promise<void> {
    await Promise.all(this.#alive().map((process) => process.stop()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.stopAll()
  }
}

export class BackgroundProcess {
  readonly id: string
  readonly command: string
  /** Resolves when it and all that it started have ended, and all output is here. */
  readonly #ended: Promise<void>
  /** How it ended; null while it lives. */
  end: ProcessEnd | null = null
  readonly #process: RunningProcess
  #unread = new BoundedText(UNREAD_BYTES)
  #unreadBytes = 0
  readonly #changed = new Signal()

  constructor(id: string, command: string, process: RunningProcess) {
    this.id = id
    this.command = command
    this.#process = process
    const { closed } = collectOutput(process, 0, {
      maxTotalBytes: process.outputBytes,
      onTooMuch: process.stopFlood,
      onOutput: (text) => {
        this.#unread.add(text)
        this.#unreadBytes += Buffer.byteLength(text)
        this.#changed.notify()
      },
    })
    this.#ended = Promise.all([process.ended, closed]).then(([end]) => {
      this.end = end
      this.#changed.notify()
    })
  }

  /**
   * Waits until the process ends, the time is over or, unless it is null, a text is in what was not read yet.
   * @returns false if the text did not appear. Never rejects
   */
  async wait(text: string | null, ms: number, signal: AbortSignal): Promise<boolean> {
    const over = AbortSignal.any([signal, AbortSignal.timeout(ms)])
    for (;;) {
      const { count } = this.#changed
      if (text !== null && this.#unread.text().includes(text)) return true
      if (this.end !== null || over.aborted) return text === null
      await this.#changed.wait(over, count)
    }
  }

  /** What it has printed since the last read, with secrets masked. If that is too much, it begins with how much is missing. */
  read(): string {
    const text = this.#unread.text()
    const dropped = this.#unreadBytes - UNREAD_BYTES
    this.#unread = new BoundedText(UNREAD_BYTES)
    this.#unreadBytes = 0
    return dropped > 0 ? `[${dropped} bytes in the middle of this are dropped]\n${text}` : text
  }

  /** Ends it with all that it has started. */
  async stop(): Promise<void> {
    this.#process.stop()
    await this.#ended
  }

  /** Its state, as a part of a sentence. */
  get state(): string {
    if (this.end === null) return 'is running'
    const { end, exitCode, message } = this.end
    switch (end) {
      case 'exited':
        return `ended with exit code ${exitCode}`
      case 'aborted':
        return 'was stopped'
      case 'lost':
        return 'ended, because the process that runs commands has died'
      case 'not_found':
      case 'not_started':
      case 'not_isolated':
        return `did not start: ${message}`
      default:
        return `was stopped because it ${message}`
    }
  }
}
