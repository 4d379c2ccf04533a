import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { Result } from 'neverthrow'
import type { Checkpoint, PublishedKeys } from '../api/audit.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { canonicalText } from '../log/commitment.ts'

/** SHA-256 (hex) of the public key in DER (SubjectPublicKeyInfo). */
export function fingerprintOf(key: KeyObject): string {
  return sha256(key.export({ type: 'spki', format: 'der' }))
}

/** Public keys by their fingerprints, which are computed here and never believed. */
export type KnownKeys = ReadonlyMap<string, KeyObject>

/** The one text of an Ed25519 key in PEM. Its last digit holds two bits. */
const PEM =
  /^-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA[A-Za-z\d+/]{42}[AEIMQUYcgkosw048]=\n-----END PUBLIC KEY-----\n$/

/** @throws if a text is not an Ed25519 key in PEM, or a fingerprint is not that of its key */
export function knownKeys({ keys }: PublishedKeys): KnownKeys {
  return new Map(
    keys.map(({ fingerprint, public_key }) => {
      if (!PEM.test(public_key)) {
        throw new Error(`the key that is listed as ${fingerprint} is not an Ed25519 key in PEM`)
      }
      const key = createPublicKey(public_key)
      const actual = fingerprintOf(key)
      if (actual !== fingerprint) {
        throw new Error(`the key that is listed as ${fingerprint} has the fingerprint ${actual}`)
      }
      return [fingerprint, key]
    }),
  )
}

/** The same, for keys that somebody else gives. The error is a sentence without its point. */
export const readKeys = Result.fromThrowable(knownKeys, messageOf)

/** Whether the key has signed the text. @param signature lower-case hex */
export function hasSigned(key: KeyObject, text: string, signature: string): boolean {
  return verify(null, new TextEncoder().encode(text), key, bytesOfHex(signature))
}

const bytesOfHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16))

/** A signed statement. */
export type Sealed = {
  readonly type: string
  readonly key: string
  readonly signature: string
}

/** Checks the signature of a statement. The statement names the key, which must be a known one. */
export function checkSeal(
  { signature, ...statement }: Sealed,
  keys: KnownKeys,
): 'good' | 'unknown_key' | 'bad' {
  const key = keys.get(statement.key)
  if (key === undefined) return 'unknown_key'
  return hasSigned(key, canonicalText(statement), signature) ? 'good' : 'bad'
}

/** The hash by which the next checkpoint names this one. */
export const checkpointHash = (checkpoint: Checkpoint): string => sha256(canonicalText(checkpoint))

/** What a reader trusts, from another source than what is verified: keys, or only fingerprints. */
export type TrustAnchors = {
  readonly keys: KnownKeys
  readonly fingerprints: ReadonlySet<string>
}

export const NO_ANCHORS: TrustAnchors = { keys: new Map(), fingerprints: new Set() }

/**
 * Whether the reader trusts the keys of what was verified. If the reader named no key, they are not compared: those that
 * the archive or the log itself publishes are used.
 */
export type Trust = 'trusted' | 'not_trusted' | 'not_compared'

/** @param signers fingerprints; undefined for a statement that is missing */
export function trustOf(
  { keys, fingerprints }: TrustAnchors,
  signers: readonly (string | undefined)[],
): Trust {
  if (keys.size + fingerprints.size === 0 || signers.length === 0) return 'not_compared'
  const isTrusted = (key: string | undefined): boolean =>
    key !== undefined && (keys.has(key) || fingerprints.has(key))
  return signers.every(isTrusted) ? 'trusted' : 'not_trusted'
}
