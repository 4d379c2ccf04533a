import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { PublishedKeys } from '../../api/audit.ts'
import { sha256 } from '../../lib/sha256.ts'

/** SHA-256 (hex) of the public key in DER (SubjectPublicKeyInfo). */
export function fingerprintOf(key: KeyObject): string {
  return sha256(key.export({ type: 'spki', format: 'der' }))
}

/** Public keys by their fingerprints, which are computed here and never believed. */
export type KnownKeys = ReadonlyMap<string, KeyObject>

/** @throws if a text is not an Ed25519 key, or a fingerprint is not that of its key */
export function knownKeys({ keys }: PublishedKeys): KnownKeys {
  return new Map(
    keys.map(({ fingerprint, public_key }) => {
      const key = createPublicKey(public_key)
      if (key.asymmetricKeyType !== 'ed25519') {
        throw new Error(`the key that is listed as ${fingerprint} is not an Ed25519 key`)
      }
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
