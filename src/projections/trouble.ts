import type { Log } from '../lib/logger.ts'

/** Why the log cannot be projected now. It is logged when it begins, changes and ends, not each time. */
export class Trouble {
  readonly #log: Log
  #now: string | null = null

  constructor(log: Log) {
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

function messageOf(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null || !('message' in cause)) return String(cause)
  return String(cause.message)
}
