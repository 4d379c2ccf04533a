import { randomUUID } from 'node:crypto'
import type { Result, ResultAsync } from 'neverthrow'
import type { Logger } from '../lib/logger.ts'
import { within } from '../lib/within.ts'
import { decideAndAppend, type Folded } from '../log/decider.ts'
import type { Signing } from '../log/entry-seal.ts'
import type { LoadError } from '../log/run-log.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { type Caller, Directory, type Rejection } from './callers.ts'
import { Tickets } from './tickets.ts'
import {
  decideCreation,
  decideRevocation,
  digestOf,
  newSecret,
  TOKEN_LEDGER,
  type Token,
  type TokenEntry,
  type TokenError,
  type Tokens,
} from './token-ledger.ts'
import { KeptTokens, TokenReader } from './token-reader.ts'

export type AuthDeps = {
  readonly store: EventStore
  readonly sign: Signing
  /** The admin token from the configuration; null if there is none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'warn' | 'error'>
  /** The file with the tokens to go by while the store cannot be read; undefined keeps none. */
  readonly keptIn?: string | undefined
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
  readonly #reader: TokenReader
  readonly #tickets: Tickets
  readonly #stop = new AbortController()
  readonly #readOnce = Promise.withResolvers<void>()
  #following: Promise<unknown> = Promise.resolve()

  private constructor(deps: AuthDeps, kept: KeptTokens | null) {
    this.#deps = deps
    this.#directory = new Directory(deps)
    this.#tickets = new Tickets(deps.clock)
    this.#reader = new TokenReader((tokens) => {
      this.#directory.update(tokens)
      this.#readOnce.resolve()
      void kept?.write(tokens).match(
        () => {},
        (message) =>
          deps.log.warn(
            { message },
            'the tokens could not be saved for use while the store is away',
          ),
      )
    })
  }

  /** Starts to follow the ledger, until `close`. */
  static async open(deps: AuthDeps): Promise<Auth> {
    const kept = deps.keptIn === undefined ? null : new KeptTokens(deps.keptIn)
    const auth = new Auth(deps, kept)
    const tokens = kept === null ? null : await kept.read()
    if (tokens !== null) auth.#directory.update(tokens)
    auth.#following = auth.#follow()
    return auth
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

  issueTicket(caller: Caller): ReturnType<Tickets['issue']> {
    return this.#tickets.issue(caller)
  }

  /** A ticket is valid once. */
  redeem(ticket: string): Result<Caller, Rejection> {
    return this.#tickets.redeem(ticket)
  }

  /** Whether `tokens` are those of the log. */
  get hasRead(): boolean {
    return this.#reader.caughtUp
  }

  /** All tokens that were ever created, as far as this server has read the log. */
  tokens(): readonly Token[] {
    return [...this.#reader.loaded.state.values()]
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
    this.#stop.abort()
    this.#directory.close()
    await this.#following
  }

  #extend(
    principal: string,
    decide: (
      tokens: Tokens,
      now: { readonly now: number; readonly otherAdmin: boolean },
    ) => Result<readonly TokenEntry[], TokenError>,
  ): ResultAsync<Tokens, TokenFailure> {
    const { store, clock, sign } = this.#deps
    const author = { commandId: randomUUID(), principal }
    const otherAdmin = this.#directory.hasConfigured
    return decideAndAppend(
      store,
      TOKEN_LEDGER,
      (tokens) => decide(tokens, { now: clock(), otherAdmin }),
      author,
      { from: this.#reader.loaded, sign },
    ).map((loaded: Folded<Tokens>) => {
      this.#reader.learn(loaded)
      return loaded.state
    })
  }

  async #follow(): Promise<void> {
    const { store, log } = this.#deps
    const damage = await this.#reader.follow(store, log, this.#stop.signal)
    if (damage === null) return
    log.error({ ...damage }, 'the token ledger is damaged: its tokens are no longer accepted')
    this.#directory.update(null)
  }
}

function tokenOf(tokens: Tokens, id: string): Token {
  const token = tokens.get(id)
  if (token === undefined) throw new TypeError(`the ledger has no token ${id}`)
  return token
}
