import { randomBytes } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import type { Caller, Rejection } from './callers.ts'

/** How long a ticket is valid, seconds. */
const VALID_S = 30
const TICKET_BYTES = 32
/** Unused tickets of one token: many more than a console with many tabs asks for at once. */
const MAX_OF_TOKEN = 100
/** Unused tickets in all: one token can never reach that. */
const MAX_WAITING = 10_000

type Ticket = {
  readonly ticket: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

type Waiting = { readonly caller: Caller; readonly expiresAt: number }

/**
 * Tickets for connections that cannot carry a token. A ticket is valid once, for a short time, and only on the server
 * that issued it, which keeps it in memory. If a token has too many, its own oldest tickets are dropped. So its newest
 * ones stay valid, and no other token loses any.
 */
export class Tickets {
  readonly #clock: () => number
  /** In the order in which they expire. */
  readonly #waiting = new Map<string, Waiting>()
  /** By the principal, whose name belongs to one token; oldest first. */
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
    const ticket = randomBytes(TICKET_BYTES).toString('base64url')
    const expiresAt = now + VALID_S
    this.#waiting.set(ticket, { caller, expiresAt })
    this.#ofPrincipal.set(caller.principal, own.add(ticket))
    return ok({ ticket, expiresAt })
  }

  redeem(ticket: string): Result<Caller, Rejection> {
    const waiting = this.#forget(ticket)
    const isValid = waiting !== undefined && this.#clock() < waiting.expiresAt
    if (isValid && !waiting.caller.lifetime.ended) return ok(waiting.caller)
    const detail = `The ticket is unknown, was used, or is older than ${VALID_S} seconds. Get another one with POST /api/tickets.`
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
