import { randomBytes } from 'node:crypto'
import { sha256 } from '../lib/sha256.ts'

/** By this a scanner of code or logs knows a secret of ours; what follows is 43 characters of base64url. */
const PREFIX = 'retrai_'
const BYTES = 32

export const newSecret = (): string => `${PREFIX}${randomBytes(BYTES).toString('base64url')}`

/** For what is used up within seconds. */
export const newTicket = (): string => randomBytes(BYTES).toString('base64url')

/**
 * What is stored in place of a secret, hex. A slow hash would protect secrets that can be guessed; these
 * have 256 random bits. Nor does it matter how long it takes to find a digest among others: who guesses
 * cannot choose the digest of a guess.
 */
export const digestOf = (secret: string): string => sha256(secret)
