import { randomUUID, timingSafeEqual } from 'node:crypto'
import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { CONFIGURED, LOCAL } from '../api/auth.ts'
import { within } from '../lib/promises.ts'
import { FollowedLedger, type LedgerDeps } from '../log/followed-ledger.ts'
import type { LoadError } from '../log/run-log.ts'
import type { AppendError } from '../store/event-store.ts'
import { type Caller, type Rejection, Tickets, TokenLifetime } from './callers.ts'
import {
  decideCreation,
  decideRevocation,
  digestOf,
  isActive,
  type KeptTokens,
  newSecret,
  TOKEN_LEDGER,
  type Token,
  type TokenEntry,
  type TokenError,
  type Tokens,
} from './token-ledger.ts'

export type AuthDeps = LedgerDeps & {
  /** The admin token from the configuration; null if that names none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
  /** The tokens to go by while the store cannot be read. Left out: none are kept. */
  readonly kept?: KeptTokens | undefined
}

/** The token that somebody wants to create. */
export type WantedToken = Pick<Token, 'name' | 'role'> & {
  /** Seconds from now; null for never. */
  readonly expiresIn: number | null
}

export type TokenFailure = TokenError | AppendError | LoadError

/** How often the lifetimes are compared with the clock. */
const EXPIRY_MS = 1_000

/**
 * Authenticates clients by the token ledger of the log, and changes that ledger. A token's lifetime ends as soon as the
 * token is revoked or expires.
 */
export class Auth {
  readonly #deps: AuthDeps
  readonly tickets: Tickets
  readonly #configured: { readonly digest: Buffer; readonly caller: Caller } | null
  #local: Caller
  #guarded: boolean
  /** Null while the tokens are not known. */
  #bySecret: ReadonlyMap<string, Token> | null = null
  /** The lifetimes of tokens that were used, by the id of the token. */
  readonly #lifetimes = new Map<string, TokenLifetime>()
  readonly #timer = setInterval(() => this.#endExpired(), EXPIRY_MS).unref()
  readonly #readOnce = Promise.withResolvers<void>()
  readonly #ledger: FollowedLedger<TokenEntry, Tokens>
  /** Settled when the last known tokens are kept. */
  #saving: Promise<void> | undefined

  /** Follows the ledger until `close`. */
  constructor(deps: AuthDeps) {
    const { configured, clock, kept } = deps
    this.#deps = deps
    this.tickets = new Tickets(clock)
    this.#local = this.#newLocal()
    const lifetime = new TokenLifetime(null, clock)
    const caller = { principal: CONFIGURED, role: 'admin', lifetime } as const
    this.#guarded = configured !== null
    this.#configured = configured === null ? null : { digest: bytesOf(configured), caller }
    if (kept?.tokens) this.#update(kept.tokens)
    this.#ledger = new FollowedLedger(TOKEN_LEDGER, deps, {
      changed: ({ state }) => this.#takeOver(state),
      // Its tokens are no longer accepted.
      damaged: () => this.#update(null),
    })
  }

  /**
   * Whether a client needs a token, as far as is known. If not, either no token was ever created, and every
   * client is `local`, or the tokens are not read yet, and every client is rejected.
   */
  get guarded(): boolean {
    return this.#guarded
  }

  /** Whether the tokens are known. */
  get hasRead(): boolean {
    return this.#bySecret !== null
  }

  /** Resolves to whether the tokens are known, after `withinMs` milliseconds at the latest. */
  async read(withinMs: number): Promise<boolean> {
    if (!this.hasRead) await within(withinMs, this.#readOnce.promise, () => {})
    return this.hasRead
  }

  /** @param secret undefined if the client sent none */
  authenticate(secret: string | undefined): Result<Caller, Rejection> {
    // The ledger comes first: a token of it keeps its role if it is in the configuration, too.
    const token = secret === undefined ? undefined : this.#bySecret?.get(digestOf(secret))
    if (token !== undefined) return this.#accept(token)
    const configured = this.#configured
    if (secret !== undefined && configured !== null) {
      if (timingSafeEqual(bytesOf(secret), configured.digest)) return ok(configured.caller)
    }
    if (this.#isOpen) return ok(this.#local)
    const couldBeValid = secret !== undefined || configured === null
    if (!this.hasRead && couldBeValid) return err({ type: 'tokens_unread' })
    if (secret === undefined) return err({ type: 'unauthenticated' })
    return err({ type: 'unauthenticated', detail: 'This server knows no such token.' })
  }

  /** All tokens that were ever created, as far as this server has read the log. */
  tokens(): readonly Token[] {
    return [...this.#ledger.state.values()]
  }

  /** Returns the secret, which is stored nowhere. */
  create(
    { name, role, expiresIn }: WantedToken,
    principal: string,
  ): ResultAsync<{ readonly token: Token; readonly secret: string }, TokenFailure> {
    const secret = newSecret()
    const id = randomUUID()
    const sha256 = digestOf(secret)
    return this.#extend(principal, (tokens, now) => {
      const expires_at = expiresIn === null ? null : now.now + expiresIn
      return decideCreation(tokens, { id, name, role, sha256, expires_at }, now)
    }).map((tokens) => ({ token: tokenOf(tokens, id), secret }))
  }

  revoke(id: string, reason: string | null, principal: string): ResultAsync<Token, TokenFailure> {
    return this.#extend(principal, (tokens, now) => {
      return decideRevocation(tokens, id, reason, now)
    }).map((tokens) => tokenOf(tokens, id))
  }

  /** Ends no lifetime. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#ledger.close()
    await this.#saving
  }

  #extend(
    principal: string,
    decide: (
      tokens: Tokens,
      now: { readonly now: number; readonly otherAdmin: boolean },
    ) => Result<readonly TokenEntry[], TokenError>,
  ): ResultAsync<Tokens, TokenFailure> {
    const otherAdmin = this.#configured !== null
    return this.#ledger.extend(principal, (tokens) =>
      decide(tokens, { now: this.#deps.clock(), otherAdmin }),
    )
  }

  /** The ledger was read to its end: its tokens are those that count. */
  #takeOver(tokens: Tokens): void {
    this.#update(tokens)
    this.#readOnce.resolve()
    this.#saving = this.#deps.kept?.write(tokens).match(
      () => {},
      (message) => {
        const text = 'the tokens could not be saved for use while the store is away'
        this.#deps.log.warn({ message }, text)
      },
    )
  }

  /** Whether every client that reaches the server is accepted: no token was ever created. */
  get #isOpen(): boolean {
    return this.hasRead && !this.#guarded
  }

  /** @param tokens all that are known; null if none can be trusted */
  #update(tokens: Tokens | null): void {
    this.#bySecret = tokens && new Map([...tokens.values()].map((token) => [token.sha256, token]))
    if (tokens !== null) this.#guarded = this.#configured !== null || tokens.size > 0
    if (!this.#isOpen) {
      this.#local.lifetime.end()
      this.#local = this.#newLocal()
    }
    for (const [id, lifetime] of this.#lifetimes) {
      const token = tokens?.get(id)
      if (token === undefined || !isActive(token, this.#deps.clock())) this.#end(id, lifetime)
    }
  }

  #newLocal(): Caller {
    const lifetime = new TokenLifetime(null, this.#deps.clock)
    return { principal: LOCAL, role: 'admin', lifetime }
  }

  #accept(token: Token): Result<Caller, Rejection> {
    const { id, name: principal, role, expires_at, revoked } = token
    const { clock } = this.#deps
    if (!isActive(token, clock())) {
      const why = revoked === null ? 'has expired' : 'was revoked'
      return err({ type: 'unauthenticated', detail: `The token "${principal}" ${why}.` })
    }
    const lifetime = this.#lifetimes.get(id) ?? new TokenLifetime(expires_at, clock)
    this.#lifetimes.set(id, lifetime)
    return ok({ principal, role, lifetime })
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

function tokenOf(tokens: Tokens, id: string): Token {
  const token = tokens.get(id)
  if (token === undefined) throw new TypeError(`the ledger has no token ${id}`)
  return token
}
