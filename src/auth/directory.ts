import { timingSafeEqual } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import { CONFIGURED, LOCAL } from '../api/auth-requests.ts'
import type { Caller, Rejection } from './caller.ts'
import { Lease } from './lease.ts'
import { digestOf } from './secret.ts'
import { isActive, type Token, type Tokens } from './token-ledger.ts'

type Deps = {
  /** A token by configuration, which is an admin's; null for none. */
  readonly configured: string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
}

/** The longest time that a timer can be set for, milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Who is let in now. Leases end as soon as their token is revoked or has expired. */
export class Directory {
  readonly #clock: () => number
  readonly #configured: { readonly digest: Buffer; readonly caller: Caller } | null
  #local: Caller
  #guarded: boolean
  #bySecret: ReadonlyMap<string, Token> | null = null
  /** Of tokens that were used, by the id of the token. */
  readonly #leases = new Map<string, { readonly token: Token; readonly lease: Lease }>()
  #timer: NodeJS.Timeout | undefined

  constructor({ configured, clock }: Deps) {
    this.#clock = clock
    this.#local = this.#newLocal()
    const caller = { principal: CONFIGURED, role: 'admin', lease: new Lease(null, clock) } as const
    this.#guarded = configured !== null
    this.#configured = configured === null ? null : { digest: bytesOf(configured), caller }
  }

  /** Whether it is known which tokens there are. */
  get read(): boolean {
    return this.#bySecret !== null
  }

  /** Whether nobody is let in without a token, as far as is known. */
  get guarded(): boolean {
    return this.#guarded
  }

  /** Whether everybody who reaches the server is let in: no token was ever made. */
  get open(): boolean {
    return this.read && !this.#guarded
  }

  get hasConfigured(): boolean {
    return this.#configured !== null
  }

  /** Takes over what is known of the tokens; null for nothing that can be trusted. */
  update(tokens: Tokens | null): void {
    const bySecret = tokens && new Map([...tokens.values()].map((token) => [token.sha256, token]))
    this.#bySecret = bySecret
    if (tokens !== null) this.#guarded = this.hasConfigured || tokens.size > 0
    if (!this.open) {
      this.#local.lease.end()
      this.#local = this.#newLocal()
    }
    for (const [id, { lease }] of this.#leases) {
      const token = tokens?.get(id)
      if (token === undefined || !isActive(token, this.#clock())) this.#end(id, lease)
    }
    this.#watchExpiry()
  }

  /** @param secret undefined where none was given */
  find(secret: string | undefined): Result<Caller, Rejection> {
    // A token of the ledger goes first: set as the configuration too, it is still no more than it was.
    const token = secret === undefined ? undefined : this.#bySecret?.get(digestOf(secret))
    if (token !== undefined) return this.#letIn(token)
    const configured = this.#configured
    if (secret !== undefined && configured !== null) {
      if (timingSafeEqual(bytesOf(secret), configured.digest)) return ok(configured.caller)
    }
    if (this.open) return ok(this.#local)
    const couldBeGood = secret !== undefined || configured === null
    if (!this.read && couldBeGood) return err({ type: 'tokens_unread' })
    if (secret === undefined) return err({ type: 'unauthenticated' })
    return err({ type: 'unauthenticated', detail: 'This server knows no such token.' })
  }

  /** Ends what it watches, and no lease. */
  close(): void {
    clearTimeout(this.#timer)
  }

  #newLocal(): Caller {
    return { principal: LOCAL, role: 'admin', lease: new Lease(null, this.#clock) }
  }

  #letIn(token: Token): Result<Caller, Rejection> {
    if (isActive(token, this.#clock())) return ok(this.#callerOf(token))
    const why = token.revoked === null ? 'has expired' : 'was revoked'
    return err({ type: 'unauthenticated', detail: `The token "${token.name}" ${why}.` })
  }

  #callerOf(token: Token): Caller {
    const { id, name: principal, role, expires_at } = token
    let held = this.#leases.get(id)
    if (held === undefined) {
      held = { token, lease: new Lease(expires_at, this.#clock) }
      this.#leases.set(id, held)
      this.#watchExpiry()
    }
    return { principal, role, lease: held.lease }
  }

  #end(id: string, lease: Lease): void {
    this.#leases.delete(id)
    lease.end()
  }

  /** Sets the timer for the lease that ends first. */
  #watchExpiry(): void {
    clearTimeout(this.#timer)
    const now = this.#clock()
    const times = [...this.#leases.values()].flatMap(({ token }) => token.expires_at ?? [])
    if (times.length === 0) return
    const ms = Math.max(0, Math.min(...times) - now) * 1000
    this.#timer = setTimeout(() => this.#expire(), Math.min(Math.ceil(ms), MAX_TIMER_MS)).unref()
  }

  #expire(): void {
    for (const [id, { lease }] of this.#leases) if (lease.ended) this.#end(id, lease)
    this.#watchExpiry()
  }
}

const bytesOf = (secret: string): Buffer => Buffer.from(digestOf(secret), 'hex')
