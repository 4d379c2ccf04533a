import type { Logger } from '../../lib/logger.ts'
import type { EventStore } from '../../store/event-store.ts'
import { type Access, AccessWindows } from './access-windows.ts'
import { AccessWriter } from './access-writer.ts'

export type RecorderDeps = {
  readonly store: EventStore
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Whether an access must be written before anything is shown. */
  readonly strict: boolean
  /** How long an entry waits for others to be written with it, milliseconds. */
  readonly flushMs?: number
  /** How many entries can wait for the store. */
  readonly bound?: number
}

const FLUSH_MS = 1000
const BOUND = 10_000

/**
 * Writes the access log, in batches, while requests are answered. A crash loses what was not written yet: the entries of
 * the last second, and counts of the last minute.
 */
export class AccessRecorder {
  readonly #deps: RecorderDeps
  readonly #writer: AccessWriter
  readonly #windows: AccessWindows
  readonly #timer: NodeJS.Timeout
  #failing = false
  #stopped = false

  constructor(deps: RecorderDeps) {
    this.#deps = deps
    const { store, clock, bound = BOUND, flushMs = FLUSH_MS } = deps
    this.#writer = new AccessWriter(store, clock, bound, (error) => this.#fail(error))
    this.#windows = new AccessWindows((entry) => this.#writer.take(entry))
    this.#timer = setInterval(() => this.#tick(), flushMs).unref()
  }

  /**
   * Notes an access.
   * @returns whether it may be granted; in strict mode that is known when it is written
   */
  note(access: Access): boolean | Promise<boolean> {
    if (this.#stopped) return true
    const taken = this.#windows.add(access, this.#deps.clock())
    if (!this.#deps.strict) return true
    return taken && this.#writer.written()
  }

  /** Writes everything that is noted, if the store accepts it. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#windows.closeAll(this.#deps.clock())
    this.#stopped = true
    await this.#writer.write()
    const { waiting: entries } = this.#writer
    if (entries > 0) this.#deps.log.warn({ entries }, 'entries of the access log are lost')
  }

  #tick(): void {
    this.#windows.closeOld(this.#deps.clock())
    void this.#writer.write().then((done) => {
      if (!done || !this.#failing) return
      this.#failing = false
      this.#deps.log.info({}, 'the access log is written again')
    })
  }

  #fail(error: { readonly type: string }): void {
    if (this.#failing) return
    this.#failing = true
    this.#deps.log.warn({ error }, 'the access log cannot be written, trying again')
  }
}
