import * as z from 'zod'
import { Me, NewTokenView, TicketView, TokenView } from '../api/auth.ts'
import type { Role } from '../api/roles.ts'
import { type Answered, queryOf, type Rest, type Signal } from './call.ts'

/** The calls of /api/tokens, for admins; auditors may list. */
export type Tokens = {
  /** All tokens, newest first, revoked ones too. */
  list(options?: Signal): Answered<readonly TokenView[]>
  /** The secret is only in this answer. `expires_in` is in seconds; without it, the token does not expire. */
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

export function createTokens({ get, send }: Rest): Tokens {
  return {
    list: (options) => get('/api/tokens', z.array(TokenView), options),
    create: (body, options) => send('POST', '/api/tokens', body, NewTokenView, options),
    revoke: (id, { reason } = {}, options) => {
      const path = `/api/tokens/${encodeURIComponent(id)}${queryOf({ reason })}`
      return send('DELETE', path, undefined, TokenView, options)
    },
  }
}

/** The calls of a client about itself. */
export type Identity = {
  /** Whose token the client has, and what it permits. */
  me(options?: Signal): Answered<Me>
  /** A ticket opens one WebSocket of this server within 30 seconds, as `?ticket=`. `watch` does not need one. */
  ticket(options?: Signal): Answered<TicketView>
}

export const createIdentity = ({ get, send }: Rest): Identity => ({
  me: (options) => get('/api/me', Me, options),
  ticket: (options) => send('POST', '/api/tickets', undefined, TicketView, options),
})
