import type { TokenView } from '../api/auth.ts'
import { isActive, type Token } from './token-ledger.ts'

/** A token as the API shows it. @param now seconds since the epoch */
export function tokenView(token: Token, now: number): TokenView {
  const { id, name, role, created_at, created_by, expires_at, revoked } = token
  return {
    id,
    name,
    role,
    status: revoked === null ? (isActive(token, now) ? 'active' : 'expired') : 'revoked',
    created_at: isoTime(created_at),
    created_by,
    expires_at: expires_at === null ? null : isoTime(expires_at),
    revoked_at: revoked === null ? null : isoTime(revoked.at),
    revoked_by: revoked?.by ?? null,
    revoked_reason: revoked?.reason ?? null,
  }
}

/** @param seconds since the epoch */
export const isoTime = (seconds: number): string => new Date(seconds * 1000).toISOString()
