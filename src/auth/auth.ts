import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Result, ResultAsync } from 'neverthrow'
import type { Logger } from '../lib/logger.ts'
import { decideAndAppend, type Folded } from '../log/decider.ts'
import type { LoadError } from '../log/run-log.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import type { Caller, Rejection } from './caller.ts'
import { decideCreation, decideRevocation, type TokenError } from './decide-token.ts'
import { Directory } from './directory.ts'
import { followTokens, TokenReader } from './follow-tokens.ts'
import { KeptTokens } from './kept-tokens.ts'
import { digestOf, newSecret } from './secret.ts'
import { Tickets } from './tickets.ts'
import { TOKEN_LEDGER, type Token, type TokenEntry, type Tokens } from './token-ledger.ts'

export type AccessDeps = {
  readonly store: EventStore
  /** A token by configuration, which is an admin's; null for none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'warn' | 'error'>
  /** The file of what is gone by while the store cannot be read; undefined for none. */
  readonly keptIn?: string | undefined
}

/** What a token is to be. */
export type WantedToken = Pick<Token, 'name' | 'role'> & {
  /** Seconds from now on; null for ever. */
  readonly expiresIn: number | null
}

export type TokenFailure = TokenError | AppendError | LoadError

/** Who may ask this server, as the token ledger of its log has it. */
export class Access {
  readonly #deps: AccessDeps
  readonly #directory: Directory
  readonly #reader: TokenReader
  readonly #tickets: Tickets
  readonly #stop = new AbortController()
  readonly #readOnce = Promise.withResolvers<void>()
  #following: Promise<unknown> = Promise.resolve()

  private constructor(deps: AccessDeps) {
    this.#deps = deps
    this.#directory = new Directory(deps)
    this.#tickets = new Tickets(deps.clock)
    const kept = deps.keptIn === undefined ? null : new KeptTokens(deps.keptIn)
    this.#reader = new TokenReader((tokens) => {
      this.#directory.update(tokens)
      this.#readOnce.resolve()
      void kept?.write(tokens).mapErr((message) => {
        deps.log.warn({ message }, 'the tokens could not be kept for when the store is away')
      })
    })
  }

  /** Begins to follow the ledger, until it is stopped. */
  static async open(deps: AccessDeps): Promise<Access> {
    const access = new Access(deps)
    const kept = deps.keptIn === undefined ? null : await new KeptTokens(deps.keptIn).read()
    if (kept !== null) access.#directory.update(kept)
    access.#following = access.#follow()
    return access
  }

  /**
   * Whether nobody is let in without a token, as far as is known. Where not, no token was ever made, and
   * everybody who reaches the server is `local`; or the tokens were not read yet, and nobody is let in.
   */
  get guarded(): boolean {
    return this.#directory.guarded
  }

  /** @param secret undefined where none was given */
  authenticate(secret: string | undefined): Result<Caller, Rejection> {
    return this.#directory.find(secret)
  }

  /** Resolves to whether it is known which tokens there are, after so many milliseconds at the latest. */
  async read(withinMs: number): Promise<boolean> {
    if (this.#directory.read) return true
    const given = new AbortController()
    const patience = delay(withinMs, undefined, { signal: given.signal }).catch(() => {})
    await Promise.race([this.#readOnce.promise, patience])
    given.abort()
    return this.#directory.read
  }

  issueTicket(caller: Caller): ReturnType<Tickets['issue']> {
    return this.#tickets.issue(caller)
  }

  /** A ticket lets in once. */
  redeem(ticket: string): Result<Caller, Rejection> {
    return this.#tickets.redeem(ticket)
  }

  /** All tokens that were ever made, as far as this server knows. */
  tokens(): readonly Token[] {
    return [...this.#reader.loaded.state.values()]
  }

  /** The secret is told here and never again. */
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
    const { store, clock } = this.#deps
    const author = { commandId: randomUUID(), principal }
    const otherAdmin = this.#directory.hasConfigured
    return decideAndAppend(
      store,
      TOKEN_LEDGER,
      (tokens) => decide(tokens, { now: clock(), otherAdmin }),
      author,
      { from: this.#reader.loaded },
    ).map((loaded: Folded<Tokens>) => {
      this.#reader.learn(loaded)
      return loaded.state
    })
  }

  async #follow(): Promise<void> {
    const { store, log } = this.#deps
    const damage = await followTokens(store, this.#reader, log, this.#stop.signal)
    if (damage === null) return
    log.error({ ...damage }, 'the token ledger is damaged: none of its tokens is taken any more')
    this.#directory.update(null)
  }
}

function tokenOf(tokens: Tokens, id: string): Token {
  const token = tokens.get(id)
  if (token === undefined) throw new TypeError(`the ledger has no token ${id} after all`)
  return token
}
