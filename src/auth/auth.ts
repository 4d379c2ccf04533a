import { randomUUID } from 'node:crypto'
import type { Result, ResultAsync } from 'neverthrow'
import { within } from '../lib/promises.ts'
import { FollowedLedger, type LedgerDeps } from '../log/followed-ledger.ts'
import type { LoadError } from '../log/run-log.ts'
import type { AppendError } from '../store/event-store.ts'
import { type Caller, Directory, type Rejection, Tickets } from './callers.ts'
import {
  decideCreation,
  decideRevocation,
  digestOf,
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

/** Authenticates clients by the token ledger of the log, and changes that ledger. */
export class Auth {
  readonly #deps: AuthDeps
  readonly #directory: Directory
  readonly tickets: Tickets
  readonly #readOnce = Promise.withResolvers<void>()
  readonly #ledger: FollowedLedger<TokenEntry, Tokens>

  /** Follows the ledger until `close`. */
  constructor(deps: AuthDeps) {
    this.#deps = deps
    this.#directory = new Directory(deps)
    this.tickets = new Tickets(deps.clock)
    if (deps.kept?.tokens) this.#directory.update(deps.kept.tokens)
    this.#ledger = new FollowedLedger(TOKEN_LEDGER, deps, {
      changed: ({ state }) => this.#takeOver(state),
      // Its tokens are no longer accepted.
      damaged: () => this.#directory.update(null),
    })
  }

  /**
   * Whether a client needs a token, as far as is known. If not, either no token was ever created, and every
   * client is `local`, or the tokens are not read yet, and every client is rejected.
   */
  get guarded(): boolean {
    return this.#directory.guarded
  }

  /** @param secret undefined if the client sent none */
  authenticate(secret: string | undefined): Result<Caller, Rejection> {
    return this.#directory.find(secret)
  }

  /** Resolves to whether the tokens are known, after `withinMs` milliseconds at the latest. */
  async read(withinMs: number): Promise<boolean> {
    if (this.#directory.read) return true
    await within(withinMs, this.#readOnce.promise, () => {})
    return this.#directory.read
  }

  /** Whether `tokens` are those of the log. */
  get hasRead(): boolean {
    return this.#directory.read
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

  async close(): Promise<void> {
    this.#directory.close()
    await this.#ledger.close()
  }

  #extend(
    principal: string,
    decide: (
      tokens: Tokens,
      now: { readonly now: number; readonly otherAdmin: boolean },
    ) => Result<readonly TokenEntry[], TokenError>,
  ): ResultAsync<Tokens, TokenFailure> {
    const otherAdmin = this.#directory.hasConfigured
    return this.#ledger.extend(principal, (tokens) =>
      decide(tokens, { now: this.#deps.clock(), otherAdmin }),
    )
  }

  /** The ledger was read to its end: its tokens are those that count. */
  #takeOver(tokens: Tokens): void {
    this.#directory.update(tokens)
    this.#readOnce.resolve()
    void this.#deps.kept?.write(tokens).match(
      () => {},
      (message) => {
        const text = 'the tokens could not be saved for use while the store is away'
        this.#deps.log.warn({ message }, text)
      },
    )
  }
}

function tokenOf(tokens: Tokens, id: string): Token {
  const token = tokens.get(id)
  if (token === undefined) throw new TypeError(`the ledger has no token ${id}`)
  return token
}
