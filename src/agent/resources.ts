import { closeSync, openSync } from 'node:fs'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { shortageOf } from '../lib/shortage.ts'
import type { RunCommand } from '../runner/command.ts'

/** This many files must be openable before work that opens files begins. */
const SPARE_FILES = 16

type Deps = {
  readonly retryMs: PauseBoundsMs
  readonly log: Pick<Logger, 'info' | 'error'>
  /** For tests: opens and closes files. */
  readonly probe?: () => Promise<void>
}

/**
 * Whether this process can open files and start others. A shortage is a problem of the server and not the outcome of a
 * call or a check, so runs wait until it is over.
 */
export class Resources {
  readonly #deps: Deps
  #shortage: string | null = null

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Checks now. Returns what this process is short of, for people; null if nothing. */
  async problem(): Promise<string | null> {
    try {
      await (this.#deps.probe ?? openSpareFiles)()
      this.#note(null)
    } catch (cause) {
      this.#note(shortageOf(cause))
    }
    return this.#shortage === null
      ? null
      : `The server is short of descriptors or memory (${this.#shortage}), so its runs wait. Close connections, or raise its limits.`
  }

  /** Waits until the shortage is over; false as soon as `signal` aborts. */
  async available(signal: AbortSignal): Promise<boolean> {
    const backoff = new Backoff(this.#deps.retryMs)
    while ((await this.problem()) !== null) {
      if (!(await backoff.wait(signal))) return false
    }
    return !signal.aborted
  }

  /** The same, but a command that cannot start because of a shortage starts later. */
  patient(runCommand: RunCommand): RunCommand {
    return async (command) => {
      const backoff = new Backoff(this.#deps.retryMs)
      for (;;) {
        const result = await runCommand(command)
        if (result.shortage === undefined) return result
        this.#note(result.shortage)
        if (!(await backoff.wait(command.signal))) return { ...result, end: 'aborted' }
      }
    }
  }

  #note(shortage: string | null): void {
    const { log } = this.#deps
    if (shortage !== null && this.#shortage === null) {
      log.error({ code: shortage }, 'the server is short of descriptors or memory: runs wait')
    }
    if (shortage === null && this.#shortage !== null)
      log.info({}, 'the shortage is over: runs continue')
    this.#shortage = shortage
  }
}

/** Synchronous calls take microseconds; calls in the pool of threads take a hundred times as long. */
function openSpareFiles(): void {
  const opened: number[] = []
  try {
    while (opened.length < SPARE_FILES) opened.push(openSync('/dev/null', 'r'))
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
}
