import { err, ok, type Result } from 'neverthrow'
import type { Caller, Rejection } from './caller.ts'
import { newTicket } from './secret.ts'

/** How long a ticket is good for, seconds. */
const SECONDS = 30
/** Tickets of one token that may wait to be used: many more than a console of many tabs asks for at once. */
const MAX_OF_TOKEN = 100
/** Tickets that may wait to be used in all: one token can never reach that. */
const MAX_WAITING = 10_000

export type Ticket = {
  readonly ticket: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

type Waiting = { readonly caller: Caller; readonly expiresAt: number }

/**
 * Tickets for connections that cannot carry a token: each lets in once, and only soon after it was
 * given. They are kept in this process, so a ticket is good for the server that gave it. Whoever asks for
 * too many loses their own oldest ones: those that they use are the newest, and nobody else loses any.
 */
export class Tickets {
  readonly #clock: () => number
  /** In the order in which they expire. */
  readonly #waiting = new Map<string, Waiting>()
  /** The tickets of each principal, whose name belongs to one token, oldest first. */
  readonly #ofPrincipal = new Map<string, Set<string>>()

  /** @param clock seconds since the epoch */
  constructor(clock: () => number) {
    this.#clock = clock
  }

  issue(caller: Caller): Result<Ticket, { readonly type: 'too_many_tickets' }> {
    const now = this.#clock()
    for (const [ticket, { expiresAt }] of this.#waiting) {
      if (now < expiresAt) break
      this.#forget(ticket)
    }
    const own = this.#ofPrincipal.get(caller.principal) ?? new Set()
    const [oldest] = own
    if (oldest !== undefined && own.size >= MAX_OF_TOKEN) this.#forget(oldest)
    if (this.#waiting.size >= MAX_WAITING) return err({ type: 'too_many_tickets' })
    const ticket = newTicket()
    const expiresAt = now + SECONDS
    this.#waiting.set(ticket, { caller, expiresAt })
    this.#ofPrincipal.set(caller.principal, own.add(ticket))
    return ok({ ticket, expiresAt })
  }

  redeem(ticket: string): Result<Caller, Rejection> {
    const waiting = this.#forget(ticket)
    const good = waiting !== undefined && this.#clock() < waiting.expiresAt
    if (good && !waiting.caller.lease.ended) return ok(waiting.caller)
    const detail = `The ticket is none, was used, or is older than ${SECONDS} seconds. Get another one with POST /api/tickets.`
    return err({ type: 'unauthenticated', detail })
  }

  #forget(ticket: string): Waiting | undefined {
    const waiting = this.#waiting.get(ticket)
    if (waiting === undefined) return undefined
    this.#waiting.delete(ticket)
    const { principal } = waiting.caller
    const own = this.#ofPrincipal.get(principal)
    own?.delete(ticket)
    if (own?.size === 0) this.#ofPrincipal.delete(principal)
    return waiting
  }
}
