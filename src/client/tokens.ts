import * as z from 'zod'
import { NewTokenView, TokenView } from '../api/auth.ts'
import type { Role } from '../api/roles.ts'
import { type Answered, type Caller, createGetter, type Signal } from './call.ts'

/** The calls of /api/tokens, for admins; auditors may list. */
export type Tokens = {
  /** All that were ever made, newest first. */
  list(options?: Signal): Answered<readonly TokenView[]>
  /** The secret in the answer is told once. `expires_in` is in seconds; without it, it does not expire. */
  create(
    wanted: {
      readonly name: string
      readonly role: Role
      readonly expires_in?: number | null | undefined
    },
    options?: Signal,
  ): Answered<NewTokenView>
  revoke(
    id: string,
    why?: { readonly reason?: string | undefined },
    options?: Signal,
  ): Answered<TokenView>
}

export function createTokens(call: Caller): Tokens {
  return {
    list: (options) => createGetter(call)('/api/tokens', z.array(TokenView), options),

    create: (body, { signal } = {}) =>
      call({ method: 'POST', path: '/api/tokens', body, schema: NewTokenView, signal }).map(
        ({ value }) => value,
      ),

    revoke: (id, { reason } = {}, { signal } = {}) => {
      const query = reason === undefined ? '' : `?${new URLSearchParams({ reason })}`
      const path = `/api/tokens/${encodeURIComponent(id)}${query}`
      return call({ method: 'DELETE', path, schema: TokenView, signal }).map(({ value }) => value)
    },
  }
}
