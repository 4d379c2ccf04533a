import { timingSafeEqual } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import { CONFIGURED, LOCAL } from '../api/auth-requests.ts'
import type { Role } from '../api/roles.ts'
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
  /** The admin token from the configuration; null if there is none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
}

/** A clock may be set, and a machine may sleep, which timers do not notice: so it is compared this often. */
const MAX_TIMER_MS = 60_000

/** Finds the caller for a secret. A token's lifetime ends as soon as the token is revoked or expires. */
export class Directory {
  readonly #clock: () => number
  readonly #configured: { readonly digest: Buffer; readonly caller: Caller } | null
  #local: Caller
  #guarded: boolean
  #bySecret: ReadonlyMap<string, Token> | null = null
  /** The lifetimes of tokens that were used, by the id of the token. */
  readonly #lifetimes = new Map<
    string,
    { readonly token: Token; readonly lifetime: TokenLifetime }
  >()
  #timer: NodeJS.Timeout | undefined

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
    for (const [id, { lifetime }] of this.#lifetimes) {
      const token = tokens?.get(id)
      if (token === undefined || !isActive(token, this.#clock())) this.#end(id, lifetime)
    }
    this.#watchExpiry()
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
    clearTimeout(this.#timer)
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
    let held = this.#lifetimes.get(id)
    if (held === undefined) {
      held = { token, lifetime: new TokenLifetime(expires_at, this.#clock) }
      this.#lifetimes.set(id, held)
      this.#watchExpiry()
    }
    return { principal, role, lifetime: held.lifetime }
  }

  #end(id: string, lifetime: TokenLifetime): void {
    this.#lifetimes.delete(id)
    lifetime.end()
  }

  /** Sets the timer for the token that expires first. */
  #watchExpiry(): void {
    clearTimeout(this.#timer)
    const now = this.#clock()
    const times = [...this.#lifetimes.values()].flatMap(({ token }) => token.expires_at ?? [])
    if (times.length === 0) return
    const ms = Math.max(0, Math.min(...times) - now) * 1000
    this.#timer = setTimeout(() => this.#expire(), Math.min(Math.ceil(ms), MAX_TIMER_MS)).unref()
  }

  #expire(): void {
    for (const [id, { lifetime }] of this.#lifetimes) if (lifetime.ended) this.#end(id, lifetime)
    this.#watchExpiry()
  }
}

const bytesOf = (secret: string): Buffer => Buffer.from(digestOf(secret), 'hex')
