import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type { TokenView } from '../api/auth.ts'
import { RESERVED_NAMES, ROLES, type Role, TokenName } from '../api/auth.ts'
import { OWN_STREAM_PREFIX, Sha256 } from '../domain/fields.ts'
import { jsonOr } from '../lib/json.ts'
import { sha256 } from '../lib/sha256.ts'
import { writeDurably } from '../lib/write-durably.ts'
import type { Logged } from '../log/codec.ts'
import type { StreamDefinition } from '../log/decider.ts'

const TokenCreated = z.strictObject({
  kind: z.literal('token_created'),
  ts: z.number(),
  payload: z.strictObject({
    id: z.uuid(),
    name: TokenName,
    role: z.enum(ROLES),
    /** The SHA-256 of the secret, hex. */
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
const Token = z.strictObject({
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
 * have 256 random bits. The time that it takes to find a digest among others reveals nothing either: a client that guesses
 * cannot choose the digest of its guess.
 */
export const digestOf = (secret: string): string => sha256(secret)

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
  /** Whether there is an admin in addition to those in the ledger: the token from the configuration. */
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

const Kept = z.strictObject({ tokens: z.array(Token) })

/**
 * A file with the tokens, without secrets, as this server saw them last. A server that starts while its store is away
 * uses them, as if it had kept running.
 */
export type KeptTokens = {
  /** What the file held when it was opened; null if it cannot be read. */
  readonly tokens: Tokens | null
  /** Writes follow one another. The error is a text for people. */
  write(tokens: Tokens): ResultAsync<void, string>
}

export async function openKeptTokens(file: string): Promise<KeptTokens> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const known = Kept.safeParse(jsonOr(text, null)).data?.tokens
  let writing: Promise<unknown> = Promise.resolve()
  return {
    tokens: known === undefined ? null : new Map(known.map((token) => [token.id, token])),
    write: (tokens) => {
      const kept: z.infer<typeof Kept> = { tokens: [...tokens.values()] }
      const written = writing.then(() => writeDurably(file, JSON.stringify(kept)))
      writing = written.catch(() => {})
      return ResultAsync.fromPromise(written, String)
    },
  }
}
