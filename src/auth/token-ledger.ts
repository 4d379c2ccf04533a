import * as z from 'zod'
import { TokenName } from '../api/auth-requests.ts'
import { ROLES } from '../api/roles.ts'
import { OWN_STREAM_PREFIX } from '../domain/own-streams.ts'
import type { Logged } from '../log/codec.ts'
import type { StreamDefinition } from '../log/decider.ts'

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/)

const TokenCreated = z.strictObject({
  kind: z.literal('token_created'),
  ts: z.number(),
  payload: z.strictObject({
    id: z.uuid(),
    name: TokenName,
    role: z.enum(ROLES),
    /** Of the secret, hex. */
    sha256: Sha256,
    /** Seconds since the epoch. */
    expires_at: z.number().nullable(),
  }),
})

const TokenRevoked = z.strictObject({
  kind: z.literal('token_revoked'),
  ts: z.number(),
  payload: z.strictObject({ id: z.uuid(), reason: z.string().nullable() }),
})

const TokenEntry = z.discriminatedUnion('kind', [TokenCreated, TokenRevoked])
export type TokenEntry = z.infer<typeof TokenEntry>

/** Times are in seconds since the epoch. */
export const Token = z.strictObject({
  ...TokenCreated.shape.payload.shape,
  created_at: z.number(),
  /** Null where the log does not say. */
  created_by: z.string().nullable(),
  revoked: z
    .strictObject({ at: z.number(), by: z.string().nullable(), reason: z.string().nullable() })
    .nullable(),
})
export type Token = z.infer<typeof Token>

/** All tokens that were ever made, by their id, in the order in which they were made. */
export type Tokens = ReadonlyMap<string, Token>

/** The tokens of a log: who may ask its servers, and who let them. */
export const TOKEN_LEDGER: StreamDefinition<TokenEntry, Tokens> = {
  stream: `${OWN_STREAM_PREFIX}tokens`,
  schema: TokenEntry,
  initial: new Map(),
  evolve,
}

function evolve(tokens: Tokens, { record, meta }: Logged<TokenEntry>): Tokens {
  const by = meta.principal ?? null
  if (record.kind === 'token_created') {
    const { payload, ts } = record
    const token = { ...payload, created_at: ts, created_by: by, revoked: null }
    return new Map([...tokens, [payload.id, token]])
  }
  const { id, reason } = record.payload
  const token = tokens.get(id)
  if (token === undefined || token.revoked !== null) return tokens
  return new Map([...tokens, [id, { ...token, revoked: { at: record.ts, by, reason } }]])
}

/** @param now seconds since the epoch */
export const isActive = ({ revoked, expires_at }: Token, now: number): boolean =>
  revoked === null && (expires_at === null || now < expires_at)
