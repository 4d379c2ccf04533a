import type { Role } from '../api/roles.ts'

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
