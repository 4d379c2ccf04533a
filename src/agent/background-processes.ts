import { randomBytes } from 'node:crypto'
import type { Notice } from '../domain/records.ts'
import { Signal } from '../lib/signal.ts'
import { within } from '../lib/within.ts'
import { collectOutput } from '../runner/collect-output.ts'
import { overLimit } from '../runner/command.ts'
import type {
  ProcessEnd,
  ProcessRequest,
  RunningProcess,
  StartProcess,
} from '../runner/start-process.ts'
import { UnreadText } from './unread-text.ts'

/** Processes of one run that live at the same time. */
const MAX_ALIVE = 8
/** Processes of one run that are known, with those that have ended. */
const MAX_KNOWN = 32
/** Bytes of each stream that wait to be masked. If a process prints too much, the middle is dropped. */
const KEPT_BYTES = 1_048_576
/** How long input may wait for a process that does not read. */
const INPUT_WITHIN_MS = 2_000

/** What a read waits for. */
export type Wait = {
  /** Waits for exactly this text in what is not read yet; null: for no text. */
  readonly text: string | null
  readonly ms: number
}

/** Why a read returned. */
export type WaitEnd = 'found' | 'ended' | 'time'

/**
 * The processes that the agent of one run has started in the background, while this server works on the run. None of
 * them lives longer than that.
 */
export class BackgroundProcesses implements AsyncDisposable {
  readonly #known = new Map<string, BackgroundProcess>()
  readonly #stop = new AbortController()
  #notices: Notice[] = []

  /**
   * Starts a process for a call.
   * @returns null if too many live
   */
  async start(
    startProcess: StartProcess,
    request: Omit<ProcessRequest, 'signal' | 'onNotice' | 'keptBytes'>,
    { callId, command }: { readonly callId: string; readonly command: string },
  ): Promise<BackgroundProcess | null> {
    if (this.alive().length >= MAX_ALIVE) return null
    const process = await startProcess({
      ...request,
      keptBytes: KEPT_BYTES,
      signal: this.#stop.signal,
      onNotice: ({ kind, payload }) =>
        this.#notices.push({ kind, payload: { ...payload, call_id: callId } } as Notice),
    })
    const started = new BackgroundProcess(this.#newId(), command, process)
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

  alive(): readonly BackgroundProcess[] {
    return this.list().filter(({ end }) => end === null)
  }

  /** What they did that the run has to record. Each notice is returned once. */
  takeNotices(): readonly Notice[] {
    const notices = this.#notices
    this.#notices = []
    return notices
  }

  /**
   * Stops all of them. Resolves when none of their processes is alive.
   * @param why as a part of a sentence
   */
  async stopAll(why: string): Promise<void> {
    await Promise.all(this.alive().map((process) => process.stop(why)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.stopAll('with the work on the run')
  }

  /** No two processes of a run have the same id, even after a restart of the server, which does not know earlier ones. */
  #newId(): string {
    for (;;) {
      const id = `p-${randomBytes(3).toString('hex')}`
      if (!this.#known.has(id)) return id
    }
  }
}

export class BackgroundProcess {
  readonly id: string
  readonly command: string
  /** Resolves when it and all that it started have ended, and all output is here. */
  readonly ended: Promise<void>
  /** How it ended; null while it lives. */
  end: ProcessEnd | null = null
  readonly #process: RunningProcess
  readonly #unread = new UnreadText()
  readonly #changed = new Signal()
  #stoppedBecause: string | null = null

  constructor(id: string, command: string, process: RunningProcess) {
    this.id = id
    this.command = command
    this.#process = process
    const { closed } = collectOutput(process, 0, {
      maxTotalBytes: process.outputBytes,
      onTooMuch: process.stopFlood,
      onOutput: () => this.#changed.notify(),
      both: this.#unread,
    })
    this.ended = Promise.all([process.ended, closed]).then(([end]) => {
      this.end = end
      this.#changed.notify()
    })
  }

  /** Waits until a text appears, the process ends or the time is over. Never rejects. */
  async wait({ text, ms }: Wait, signal: AbortSignal): Promise<WaitEnd> {
    const late = AbortSignal.timeout(ms)
    const over = AbortSignal.any([signal, late])
    for (;;) {
      const { count } = this.#changed
      if (text !== null && this.#unread.text().includes(text)) return 'found'
      if (this.end !== null) return 'ended'
      if (over.aborted) return 'time'
      await this.#changed.wait(over, count)
    }
  }

  /** What it has printed since the last read, with secrets masked. */
  read(): string {
    return this.#unread.take()
  }

  /** Whether a write has closed its input. */
  get hasAllInput(): boolean {
    return this.#process.stdin.writableEnded
  }

  /**
   * Writes to its input, and closes the input if asked to.
   * @returns whether the process has taken all of it, or will: false if it does not read
   */
  async write(text: string, isLast: boolean): Promise<boolean> {
    const { stdin } = this.#process
    const { promise: taken, resolve } = Promise.withResolvers<boolean>()
    stdin.write(text, (error) => resolve(!error))
    if (isLast) stdin.end()
    return within(INPUT_WITHIN_MS, taken, () => false)
  }

  /** Ends it with all that it has started. @param why as a part of a sentence */
  async stop(why: string): Promise<void> {
    if (this.end === null) this.#stoppedBecause ??= why
    this.#process.stop()
    await this.ended
  }

  /** Its state, as a part of a sentence. */
  get state(): string {
    return stateOf(this.end, this.#process, this.#stoppedBecause ?? 'with the run')
  }
}

function stateOf(
  ended: ProcessEnd | null,
  { outputBytes: limitBytes }: RunningProcess,
  stoppedBecause: string,
): string {
  if (ended === null) return 'is running'
  const { end, exitCode, message } = ended
  switch (end) {
    case 'exited':
      return `ended with exit code ${exitCode}`
    case 'aborted':
      return `was stopped ${stoppedBecause}`
    case 'lost':
      return 'ended, because the process that runs commands has died'
    case 'timed_out':
      return 'was stopped at its time limit'
    case 'out_of_memory':
    case 'too_many_processes':
    case 'disk_full':
    case 'too_much_output':
      return `was stopped because it ${overLimit(message === '' ? { limitBytes } : { why: message })}`
    case 'not_found':
    case 'not_started':
    case 'not_isolated':
      return `did not start: ${message}`
  }
}
