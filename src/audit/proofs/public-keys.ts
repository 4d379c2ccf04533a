import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { PublishedKeys } from '../../api/audit.ts'
import { sha256 } from '../../lib/sha256.ts'

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

/** Whether the key has signed the text. @param signature lower-case hex */
export function hasSigned(key: KeyObject, text: string, signature: string): boolean {
  return verify(null, new TextEncoder().encode(text), key, bytesOfHex(signature))
}

const bytesOfHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16))

/** What a reader trusts, from another source than what is verified: keys, or only fingerprints. */
export type TrustAnchors = {
  readonly keys: KnownKeys
  readonly fingerprints: ReadonlySet<string>
}

export const NO_ANCHORS: TrustAnchors = { keys: new Map(), fingerprints: new Set() }

export const hasAnchors = ({ keys, fingerprints }: TrustAnchors): boolean =>
  keys.size + fingerprints.size > 0

export const isTrusted = ({ keys, fingerprints }: TrustAnchors, fingerprint: string): boolean =>
  keys.has(fingerprint) || fingerprints.has(fingerprint)
