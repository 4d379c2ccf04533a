import { err, ok, type Result } from 'neverthrow'
import { RESERVED_NAMES } from '../api/auth-requests.ts'
import type { Role } from '../api/roles.ts'
import { isActive, type Token, type TokenEntry, type Tokens } from './token-ledger.ts'

/** Why a token was not created or revoked. */
export type TokenError =
  | { readonly type: 'token_not_found' }
  /** There is or was a token with this name, or the name is reserved. */
  | { readonly type: 'name_taken'; readonly name: string }
  /** After that, nobody could manage the tokens. */
  | { readonly type: 'admin_needed' }

type Now = {
  /** Seconds since the epoch. */
  readonly now: number
  /** Whether there is an admin beside those in the ledger: the token from the configuration. */
  readonly otherAdmin: boolean
}

/** The first token must be an admin's: otherwise nobody could create the second. */
export function decideCreation(
  tokens: Tokens,
  wanted: Pick<Token, 'id' | 'name' | 'role' | 'sha256' | 'expires_at'>,
  { now, otherAdmin }: Now,
): Result<readonly TokenEntry[], TokenError> {
  const { name, role } = wanted
  const taken =
    RESERVED_NAMES.includes(name) || [...tokens.values()].some((token) => token.name === name)
  if (taken) return err({ type: 'name_taken', name })
  const managed = otherAdmin || role === 'admin' || activeAdmins(tokens, now).length > 0
  if (!managed) return err({ type: 'admin_needed' })
  return ok([{ kind: 'token_created', ts: now, payload: wanted }])
}

/** An admin whose token is valid for less than a day cannot take over the management of the tokens. */
const TAKES_OVER_S = 86_400

/**
 * Revoking a revoked token adds nothing. An admin must be left. If the revoked token is the last admin that could
 * take over tomorrow, it stays, even if an admin is left whose token expires earlier.
 */
export function decideRevocation(
  tokens: Tokens,
  id: string,
  reason: string | null,
  { now, otherAdmin }: Now,
): Result<readonly TokenEntry[], TokenError> {
  const token = tokens.get(id)
  if (token === undefined) return err({ type: 'token_not_found' })
  if (token.revoked !== null) return ok([])
  const admins = otherAdmin ? [] : activeAdmins(tokens, now)
  if (isLast(token, admins) || isLast(token, admins.filter(lastsFrom(now)))) {
    return err({ type: 'admin_needed' })
  }
  return ok([{ kind: 'token_revoked', ts: now, payload: { id, reason } }])
}

const ADMIN: Role = 'admin'

const isLast = ({ id }: Token, admins: readonly Token[]): boolean =>
  admins.length === 1 && admins[0]?.id === id

const lastsFrom =
  (now: number) =>
  ({ expires_at }: Token): boolean =>
    expires_at === null || expires_at >= now + TAKES_OVER_S

const activeAdmins = (tokens: Tokens, now: number): Token[] =>
  [...tokens.values()].filter((token) => token.role === ADMIN && isActive(token, now))
