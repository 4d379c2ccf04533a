import { hashes, verify as verifyEd25519 } from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'

/**
 * Replaces `node:crypto` in the console: the part that the server's own code for verifying needs.
 * The cryptography of browsers does not fit: it is asynchronous, and missing without TLS.
 */
hashes.sha512 = sha512

const UTF8 = new TextEncoder()
/** Most texts are short, and to make an array for each takes half of the time of a hash. */
const SHORT = new Uint8Array(4096)

/** The bytes are used before the next ones are made. */
function bytesOf(content: string | Uint8Array): Uint8Array {
  if (typeof content !== 'string') return content
  if (content.length * 3 > SHORT.length) return UTF8.encode(content)
  return SHORT.subarray(0, UTF8.encodeInto(content, SHORT).written)
}

export function hash(_algorithm: 'sha256', content: string | Uint8Array, _encoding: 'hex'): string {
  return bytesToHex(sha256(bytesOf(content)))
}

/** Of what needs the bytes and not their digits, there is only a page of evidence, which has a Buffer. */
declare const Buffer: { readonly from: (bytes: Uint8Array) => Uint8Array }

type Hash = {
  readonly update: (content: string | Uint8Array) => Hash
  digest(encoding: 'hex'): string
  digest(): Uint8Array
}

export function createHash(_algorithm: 'sha256'): Hash {
  const running = sha256.create()
  function digest(encoding: 'hex'): string
  function digest(): Uint8Array
  function digest(encoding?: 'hex'): string | Uint8Array {
    const bytes = running.digest()
    return encoding === 'hex' ? bytesToHex(bytes) : Buffer.from(bytes)
  }
  const self: Hash = {
    update: (content) => {
      running.update(bytesOf(content))
      return self
    },
    digest,
  }
  return self
}

/** How many bytes come before the 32 of an Ed25519 key in DER (SubjectPublicKeyInfo, RFC 8410). */
const PREFIX_BYTES = 12

/** An Ed25519 public key. */
export type KeyObject = {
  readonly export: (options: { readonly type: 'spki'; readonly format: 'der' }) => Uint8Array
}

/** @param pem SubjectPublicKeyInfo of an Ed25519 key */
export function createPublicKey(pem: string): KeyObject {
  const [, base64 = ''] = pem.split('\n')
  const der = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  return { export: () => der }
}

export function verify(
  _algorithm: null,
  content: Uint8Array,
  key: KeyObject,
  signature: Uint8Array,
): boolean {
  const point = key.export({ type: 'spki', format: 'der' }).subarray(PREFIX_BYTES)
  // By the rules of RFC 8032, not those of ZIP 215.
  return verifyEd25519(signature, content, point, { zip215: false })
}

export function randomBytes(size: number) {
  const bytes = crypto.getRandomValues(new Uint8Array(size))
  return { toString: (_encoding: 'hex'): string => bytesToHex(bytes) }
}
