import { sha256 } from '../lib/sha256.ts'
import { canonicalText, committed, quoted } from './commitment.ts'
import { committedRemainder, type Remainder } from './remainder.ts'

type CommonMeta = {
  /** Version of the record's shape, for upcasting. */
  readonly schema: number
  /** Unique to the command that wrote the record: two writers never make the same event. */
  readonly command_id: string
  /** Who caused it, where a person did. */
  readonly principal?: string
  readonly prev_hash: string
  readonly hash: string
}

/** As a record is written. */
export type SaltedMeta = CommonMeta & {
  /** Random, hex; the commitments to the record's strings are made with it. */
  readonly salt: string
}

/** What is kept beside each record, as the event's metadata: whole, or after a redaction. */
export type RecordMeta = SaltedMeta | (CommonMeta & Remainder)

/** Distributes over the union. */
export type Unhashed<M extends RecordMeta = RecordMeta> = M extends RecordMeta
  ? Omit<M, 'hash'>
  : never

/** `prev_hash` of the first record of a stream. */
export const GENESIS = '0'.repeat(64)

/**
 * SHA-256 (hex) over the RFC 8785 canonical form of the record together with its place in the stream
 * and its metadata. The strings of the payload stand in it as commitments; the salts and the hash itself
 * do not. So it is the same after a redaction.
 * @throws NotAsRedacted where the record is not what its metadata says was taken out of it
 */
export function recordHash(
  seq: number,
  record: { readonly payload: object; readonly [name: string]: unknown },
  meta: Unhashed,
): string {
  const { payload, ...top } = record
  const [rest, committedPayload] = commitments(payload, meta)
  // Only strings of the payload are committed to, so its text stands in for it, in the order of the names.
  const canonical = canonicalText({ ...top, ...rest, payload: '', seq }, (text, pointer) =>
    pointer === '/payload' ? committedPayload : quoted(text),
  )
  return sha256(canonical)
}

function commitments(payload: object, meta: Unhashed) {
  if ('salt' in meta) {
    const { salt, ...rest } = meta
    return [rest, committed(payload, salt)] as const
  }
  const { salts, redacted, ...rest } = meta
  return [rest, committedRemainder(payload, { salts, redacted })] as const
}

/** An RFC 9562 UUIDv8 made of the first bits of a SHA-256 (hex): the event id of a record, by its hash. */
export function uuidOfHash(hash: string): string {
  const variant = ((Number.parseInt(hash.charAt(16), 16) & 0x3) | 0x8).toString(16)
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-${variant}${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}
