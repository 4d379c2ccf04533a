import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'

/** Why the log cannot be projected now. It is logged when it begins, changes and ends, not each time. */
export class Trouble {
  readonly #log: Logger
  #now: string | null = null

  constructor(log: Logger) {
    this.#log = log
  }

  /** For a person; null while there is none. */
  get now(): string | null {
    return this.#now
  }

  met(cause: unknown): void {
    const message = messageOf(cause)
    if (message === this.#now) return
    this.#now = message
    const field = cause instanceof Error ? { err: cause } : { error: cause }
    this.#log.error(field, 'the log cannot be projected now; this is tried again until it works')
  }

  isOver(): void {
    if (this.#now === null) return
    this.#now = null
    this.#log.info({}, 'the log is projected again')
  }
}
