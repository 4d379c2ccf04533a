import { randomUUID } from 'node:crypto'
import type { Result, ResultAsync } from 'neverthrow'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { within } from '../lib/promises.ts'
import type { Signing } from '../log/chain.ts'
import { type DamagedRecord, decodeAs } from '../log/codec.ts'
import { decideAndAppend, emptyStream, type Folded, foldRecord } from '../log/decider.ts'
import type { LoadError } from '../log/run-log.ts'
import type { AppendError, EventStore, RecordedEvent } from '../store/event-store.ts'
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

export type AuthDeps = {
  readonly store: EventStore
  readonly sign: Signing
  /** The admin token from the configuration; null if that names none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'warn' | 'error'>
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
  readonly #stop = new AbortController()
  readonly #readOnce = Promise.withResolvers<void>()
  readonly #following: Promise<unknown>
  /** The ledger as far as it was read. */
  #loaded: Folded<Tokens> = emptyStream(TOKEN_LEDGER)

  /** Follows the ledger until `close`. */
  constructor(deps: AuthDeps) {
    this.#deps = deps
    this.#directory = new Directory(deps)
    this.tickets = new Tickets(deps.clock)
    if (deps.kept?.tokens) this.#directory.update(deps.kept.tokens)
    this.#following = this.#follow()
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
    return [...this.#loaded.state.values()]
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
      { from: this.#loaded, sign },
    ).map((loaded: Folded<Tokens>) => {
      if (loaded.revision > this.#loaded.revision) {
        this.#loaded = loaded
        this.#takeOver()
      }
      return loaded.state
    })
  }

  /** Follows the ledger until `close`, or until an entry cannot be read. */
  async #follow(): Promise<void> {
    const { store, log } = this.#deps
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        const options = { after: this.#loaded.revision, signal }
        for await (const item of store.subscribeStream(TOKEN_LEDGER.stream, options)) {
          if (item.type === 'caught_up') this.#takeOver()
          if (item.type !== 'events') continue
          const damage = this.#take(item.events)
          if (damage === null) continue
          log.error({ ...damage }, 'the token ledger is damaged: its tokens are no longer accepted')
          this.#directory.update(null)
          return
        }
      } catch (error) {
        log.warn({ err: error }, 'the token ledger cannot be followed now; retrying')
      }
      await sleep(RETRY_MS, signal)
    }
  }

  /** Returns the first entry that cannot be read. */
  #take(events: readonly RecordedEvent[]): DamagedRecord | null {
    for (const event of events) {
      if (event.revision <= this.#loaded.revision) continue
      const folded = decodeAs(TOKEN_LEDGER.schema, event).andThen((logged) =>
        foldRecord(TOKEN_LEDGER, this.#loaded, logged),
      )
      if (folded.isErr()) return folded.error
      this.#loaded = folded.value
    }
    if (this.#directory.read) this.#takeOver()
    return null
  }

  /** The ledger was read to its end: its tokens are those that count. */
  #takeOver(): void {
    this.#directory.update(this.#loaded.state)
    this.#readOnce.resolve()
    void this.#deps.kept?.write(this.#loaded.state).match(
      () => {},
      (message) => {
        const text = 'the tokens could not be saved for use while the store is away'
        this.#deps.log.warn({ message }, text)
      },
    )
  }
}

const RETRY_MS = 1000

function tokenOf(tokens: Tokens, id: string): Token {
  const token = tokens.get(id)
  if (token === undefined) throw new TypeError(`the ledger has no token ${id}`)
  return token
}
