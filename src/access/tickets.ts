import { err, ok, type Result } from 'neverthrow'
import type { Caller, Rejection } from './caller.ts'
import { newTicket } from './secret.ts'

/** How long a ticket is good for, seconds. */
const SECONDS = 30
/** Tickets that may wait to be used. */
const MAX_WAITING = 10_000

export type Ticket = {
  readonly ticket: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

type Waiting = { readonly caller: Caller; readonly expiresAt: number }

/**
 * Tickets for connections that cannot carry a token: each lets in once, and only soon after it was
 * given. They are kept in this process, so a ticket is good for the server that gave it.
 */
export class Tickets {
  readonly #clock: () => number
  /** In the order in which they expire. */
  readonly #waiting = new Map<string, Waiting>()

  /** @param clock seconds since the epoch */
  constructor(clock: () => number) {
    this.#clock = clock
  }

  issue(caller: Caller): Result<Ticket, { readonly type: 'too_many_tickets' }> {
    const now = this.#clock()
    for (const [ticket, { expiresAt }] of this.#waiting) {
      if (now < expiresAt) break
      this.#waiting.delete(ticket)
    }
    if (this.#waiting.size >= MAX_WAITING) return err({ type: 'too_many_tickets' })
    const ticket = newTicket()
    const expiresAt = now + SECONDS
    this.#waiting.set(ticket, { caller, expiresAt })
    return ok({ ticket, expiresAt })
  }

  redeem(ticket: string): Result<Caller, Rejection> {
    const waiting = this.#waiting.get(ticket)
    this.#waiting.delete(ticket)
    const good = waiting !== undefined && this.#clock() < waiting.expiresAt
    if (good && !waiting.caller.lease.ended) return ok(waiting.caller)
    const detail = `The ticket is none, was used, or is older than ${SECONDS} seconds. Get another one with POST /api/tickets.`
    return err({ type: 'unauthenticated', detail })
  }
}
