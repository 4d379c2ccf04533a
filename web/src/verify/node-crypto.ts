import { hashes, verify as verifyEd25519 } from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'

/**
 * Replaces `node:crypto` in the console: the part that the server's own code for verifying needs.
 * The cryptography of browsers does not fit: it is asynchronous, and missing without TLS.
 */
hashes.sha512 = sha512

const UTF8 = new TextEncoder()
const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === 'string' ? UTF8.encode(content) : content

export function hash(_algorithm: 'sha256', content: string | Uint8Array, _encoding: 'hex'): string {
  return bytesToHex(sha256(bytesOf(content)))
}

export function createHash(_algorithm: 'sha256') {
  const running = sha256.create()
  const self = {
    update: (content: string | Uint8Array) => {
      running.update(bytesOf(content))
      return self
    },
    digest: (_encoding: 'hex'): string => bytesToHex(running.digest()),
  }
  return self
}

/** The prefix of the 32 bytes of every Ed25519 key in DER (SubjectPublicKeyInfo, RFC 8410). */
const ED25519 = hexToBytes('302a300506032b6570032100')
const KEY_BYTES = 32
const BEGIN = '-----BEGIN PUBLIC KEY-----'
const END = '-----END PUBLIC KEY-----'

/** A public key. Only Ed25519 keys can be used here. */
export type KeyObject = {
  readonly asymmetricKeyType: 'ed25519' | undefined
  readonly export: (options: { readonly type: 'spki'; readonly format: 'der' }) => Uint8Array
}

/** @param pem SubjectPublicKeyInfo */
export function createPublicKey(pem: string): KeyObject {
  const start = pem.indexOf(BEGIN)
  const end = start === -1 ? -1 : pem.indexOf(END, start)
  if (end === -1) throw new Error('the key is not in PEM format')
  const base64 = pem.slice(start + BEGIN.length, end)
  const der = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  const known =
    der.length === ED25519.length + KEY_BYTES && ED25519.every((byte, at) => der[at] === byte)
  return { asymmetricKeyType: known ? 'ed25519' : undefined, export: () => der }
}

export function verify(
  _algorithm: null,
  content: Uint8Array,
  key: KeyObject,
  signature: Uint8Array,
): boolean {
  const point = key.export({ type: 'spki', format: 'der' }).subarray(ED25519.length)
  // By the rules of RFC 8032, not those of ZIP 215.
  return verifyEd25519(signature, content, point, { zip215: false })
}

export function randomBytes(size: number) {
  const bytes = crypto.getRandomValues(new Uint8Array(size))
  return { toString: (_encoding: 'hex'): string => bytesToHex(bytes) }
}
