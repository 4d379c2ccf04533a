import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { z } from 'zod'
import { sha256 } from './canonical.ts'

/** 64 lower-case hex digits. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits')

/** ISO 8601 in UTC, with milliseconds. */
export const Moment = z.iso.datetime({ precision: 3 })

/** A public key of a server. Signatures made before it was retired stay good. */
export const PublishedKey = z.strictObject({
  fingerprint: Sha256.describe('SHA-256 of the key in DER (SubjectPublicKeyInfo)'),
  public_key: z.string().describe('Ed25519, PEM (SubjectPublicKeyInfo)'),
  created: Moment,
  retired: Moment.nullable().describe('When another key took its place; null for the one in use'),
})
export type PublishedKey = z.infer<typeof PublishedKey>

/** What GET /api/keys answers, and what `keys.json` of an export holds. */
export const PublishedKeys = z.strictObject({ keys: z.array(PublishedKey).readonly() })
export type PublishedKeys = z.infer<typeof PublishedKeys>

/** SHA-256 (hex) of the public key in DER (SubjectPublicKeyInfo). */
export function fingerprintOf(key: KeyObject): string {
  return sha256(key.export({ type: 'spki', format: 'der' }))
}

/** Public keys by their fingerprints, which are computed here and never believed. */
export type KnownKeys = ReadonlyMap<string, KeyObject>

/** @throws where a text is no Ed25519 key, or a fingerprint is not that of its key */
export function knownKeys({ keys }: PublishedKeys): KnownKeys {
  return new Map(
    keys.map(({ fingerprint, public_key }) => {
      const key = createPublicKey(public_key)
      if (key.asymmetricKeyType !== 'ed25519') throw new Error(`${fingerprint} is no Ed25519 key`)
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
