import { randomBytes, timingSafeEqual } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import type { Role } from '../api/auth.ts'
import { CONFIGURED, LOCAL } from '../api/auth.ts'
import { digestOf, isActive, type Token, type Tokens } from './token-ledger.ts'

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

type Deps = {
  /** The admin token from the configuration; null if that names none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
}

/** How often the lifetimes are compared with the clock. */
const EXPIRY_MS = 1_000

/** Finds the caller for a secret. A token's lifetime ends as soon as the token is revoked or expires. */
export class Directory {
  readonly #clock: () => number
  readonly #configured: { readonly digest: Buffer; readonly caller: Caller } | null
  #local: Caller
  #guarded: boolean
  #bySecret: ReadonlyMap<string, Token> | null = null
  /** The lifetimes of tokens that were used, by the id of the token. */
  readonly #lifetimes = new Map<string, TokenLifetime>()
  readonly #timer = setInterval(() => this.#endExpired(), EXPIRY_MS).unref()

  constructor({ configured, clock }: Deps) {
    this.#clock = clock
    this.#local = this.#newLocal()
    const lifetime = new TokenLifetime(null, clock)
    const caller = { principal: CONFIGURED, role: 'admin', lifetime } as const
    this.#guarded = configured !== null
    this.#configured = configured === null ? null : { digest: bytesOf(configured), caller }
  }

  /** Whether the tokens are known. */
  get read(): boolean {
    return this.#bySecret !== null
  }

  /** Whether a client needs a token, as far as is known. */
  get guarded(): boolean {
    return this.#guarded
  }

  /** Whether every client that reaches the server is accepted: no token was ever created. */
  get open(): boolean {
    return this.read && !this.#guarded
  }

  get hasConfigured(): boolean {
    return this.#configured !== null
  }

  /** @param tokens all that are known; null if none can be trusted */
  update(tokens: Tokens | null): void {
    const bySecret = tokens && new Map([...tokens.values()].map((token) => [token.sha256, token]))
    this.#bySecret = bySecret
    if (tokens !== null) this.#guarded = this.hasConfigured || tokens.size > 0
    if (!this.open) {
      this.#local.lifetime.end()
      this.#local = this.#newLocal()
    }
    for (const [id, lifetime] of this.#lifetimes) {
      const token = tokens?.get(id)
      if (token === undefined || !isActive(token, this.#clock())) this.#end(id, lifetime)
    }
  }

  /** @param secret undefined if the client sent none */
  find(secret: string | undefined): Result<Caller, Rejection> {
    // The ledger comes first: a token of it keeps its role if it is in the configuration, too.
    const token = secret === undefined ? undefined : this.#bySecret?.get(digestOf(secret))
    if (token !== undefined) return this.#accept(token)
    const configured = this.#configured
    if (secret !== undefined && configured !== null) {
      if (timingSafeEqual(bytesOf(secret), configured.digest)) return ok(configured.caller)
    }
    if (this.open) return ok(this.#local)
    const couldBeValid = secret !== undefined || configured === null
    if (!this.read && couldBeValid) return err({ type: 'tokens_unread' })
    if (secret === undefined) return err({ type: 'unauthenticated' })
    return err({ type: 'unauthenticated', detail: 'This server knows no such token.' })
  }

  /** Stops the timer; ends no lifetime. */
  close(): void {
    clearInterval(this.#timer)
  }

  #newLocal(): Caller {
    return { principal: LOCAL, role: 'admin', lifetime: new TokenLifetime(null, this.#clock) }
  }

  #accept(token: Token): Result<Caller, Rejection> {
    if (isActive(token, this.#clock())) return ok(this.#callerOf(token))
    const why = token.revoked === null ? 'has expired' : 'was revoked'
    return err({ type: 'unauthenticated', detail: `The token "${token.name}" ${why}.` })
  }

  #callerOf(token: Token): Caller {
    const { id, name: principal, role, expires_at } = token
    const lifetime = this.#lifetimes.get(id) ?? new TokenLifetime(expires_at, this.#clock)
    this.#lifetimes.set(id, lifetime)
    return { principal, role, lifetime }
  }

  #end(id: string, lifetime: TokenLifetime): void {
    this.#lifetimes.delete(id)
    lifetime.end()
  }

  #endExpired(): void {
    for (const [id, lifetime] of this.#lifetimes) if (lifetime.ended) this.#end(id, lifetime)
  }
}

const bytesOf = (secret: string): Buffer => Buffer.from(digestOf(secret), 'hex')

/** How long a ticket is valid, seconds. */
const VALID_S = 30
const TICKET_BYTES = 32
/** Unused tickets of one token: many more than a console with many tabs asks for at once. */
const MAX_OF_TOKEN = 100

/** Times are in seconds since the epoch. */
type Ticket = { readonly ticket: string; readonly expiresAt: number }

/**
 * Tickets for connections that cannot carry a token. A ticket is valid once, for a short time, and only on the server
 * that issued it, which keeps it in memory. If a token has too many, its own oldest tickets are dropped. So its newest
 * ones stay valid, and no other token loses any.
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
    const own: string[] = []
    for (const [ticket, unused] of this.#unused) {
      if (now >= unused.expiresAt) this.#unused.delete(ticket)
      // The name of a principal belongs to one token.
      else if (unused.caller.principal === caller.principal) own.push(ticket)
    }
    const [oldest] = own
    if (oldest !== undefined && own.length >= MAX_OF_TOKEN) this.#unused.delete(oldest)
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
