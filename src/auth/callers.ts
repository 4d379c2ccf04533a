import { randomBytes } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import type { Role } from '../api/auth.ts'

/** A client that was authenticated. */
export type Caller = {
  /** As the log records it beside what the caller does. */
  readonly principal: string
  readonly role: Role
  readonly lifetime: TokenLifetime
}

/** Why a client is not authenticated. */
export type Rejection =
  /** `detail` is for the holder of the secret, if it is or was the secret of a token. */
  | { readonly type: 'unauthenticated'; readonly detail?: string }
  /** The tokens are not known: the log could not be read yet, or is damaged. */
  | { readonly type: 'tokens_unread' }

/** The time for which a caller's token is valid: it ends when the token expires or is revoked. */
export class TokenLifetime {
  readonly #expiresAt: number | null
  readonly #clock: () => number
  readonly #listeners = new Set<() => void>()
  #ended = false

  /**
   * @param expiresAt seconds since the epoch; null for never
   * @param clock seconds since the epoch
   */
  constructor(expiresAt: number | null, clock: () => number) {
    this.#expiresAt = expiresAt
    this.#clock = clock
  }

  get ended(): boolean {
    return this.#ended || (this.#expiresAt !== null && this.#clock() >= this.#expiresAt)
  }

  /** Calls `listener` once: when it ends, or now if it has ended. @returns a function that removes the listener */
  onEnd(listener: () => void): () => void {
    if (this.ended) listener()
    else this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  end(): void {
    this.#ended = true
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    for (const listener of listeners) listener()
  }
}

/** How long a ticket is valid, seconds. */
const VALID_S = 30
const TICKET_BYTES = 32

/** Times are in seconds since the epoch. */
type Ticket = { readonly ticket: string; readonly expiresAt: number }

/**
 * Tickets for connections that cannot carry a token. A ticket is valid once, for a short time, and only on the server
 * that issued it, which keeps it in memory until then.
 */
export class Tickets {
  readonly #clock: () => number
  /** By the ticket, oldest first. */
  readonly #unused = new Map<string, { readonly caller: Caller; readonly expiresAt: number }>()

  /** @param clock seconds since the epoch */
  constructor(clock: () => number) {
    this.#clock = clock
  }

  issue(caller: Caller): Ticket {
    const now = this.#clock()
    for (const [old, unused] of this.#unused) {
      if (now < unused.expiresAt) break
      this.#unused.delete(old)
    }
    const ticket = randomBytes(TICKET_BYTES).toString('base64url')
    const expiresAt = now + VALID_S
    this.#unused.set(ticket, { caller, expiresAt })
    return { ticket, expiresAt }
  }

  /** A ticket is valid once. */
  redeem(ticket: string): Result<Caller, Rejection> {
    const unused = this.#unused.get(ticket)
    this.#unused.delete(ticket)
    const isValid = unused !== undefined && this.#clock() < unused.expiresAt
    if (isValid && !unused.caller.lifetime.ended) return ok(unused.caller)
    const detail = `The ticket is unknown, was used, or is older than ${VALID_S} seconds. Get another one with POST /api/tickets.`
    return err({ type: 'unauthenticated', detail })
  }
}
