import { randomBytes } from 'node:crypto'
import * as z from 'zod'
import { TokenName } from '../api/auth-requests.ts'
import { ROLES } from '../api/roles.ts'
import { OWN_STREAM_PREFIX } from '../domain/records.ts'
import { sha256 } from '../lib/sha256.ts'
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
  /** Null if the log does not name anybody. */
  created_by: z.string().nullable(),
  revoked: z
    .strictObject({ at: z.number(), by: z.string().nullable(), reason: z.string().nullable() })
    .nullable(),
})
export type Token = z.infer<typeof Token>

/** All tokens that were ever created, by id, in the order of their creation. */
export type Tokens = ReadonlyMap<string, Token>

/** The stream of the tokens for the servers of a log: who created them, and who revoked them. */
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

/** Scanners of code and logs recognize a secret of ours by this; 43 characters of base64url follow it. */
const PREFIX = 'retrai_'
const SECRET_BYTES = 32

export const newSecret = (): string => `${PREFIX}${randomBytes(SECRET_BYTES).toString('base64url')}`

/**
 * What is stored in place of a secret, hex. A slow hash would protect secrets that can be guessed; these
 * have 256 random bits. Nor does it matter how long it takes to find a digest among others: a client that guesses
 * cannot choose the digest of its guess.
 */
export const digestOf = (secret: string): string => sha256(secret)
