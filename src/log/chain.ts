import type { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { OWN_STREAM_PREFIX, Sha256 } from '../domain/fields.ts'
import { sha256 } from '../lib/sha256.ts'
import {
  canonicalText,
  committed,
  committedRedacted,
  quoted,
  type RedactedSalts,
} from './commitment.ts'

/** Signs with the key that a server uses now. */
export type Signer = {
  /** Fingerprint of the key. */
  readonly key: string
  /** @returns the Ed25519 signature, hex */
  sign(text: string): string
}

/** The signer now: keys rotate while a server works. */
export type Signing = () => ResultAsync<Signer, SigningFailure>
type SigningFailure = {
  readonly type: 'store_unavailable' | 'store_failed'
  readonly message: string
}

/** In the metadata of an entry of a ledger: who signs it, and the entries before it from `first` on. */
export const EntrySeal = z.strictObject({
  first: z.int().nonnegative(),
  key: Sha256,
  signature: z.string().regex(/^[0-9a-f]{128}$/),
})
export type EntrySeal = z.infer<typeof EntrySeal>

/** Whether a stream is a ledger: its entries may be signed, and records of runs may not. */
const mayBeSealed = (stream: string): boolean => stream.startsWith(OWN_STREAM_PREFIX)

/** The text that is signed. @param head hash of the entry, which covers all entries before it */
export const sealedText = (
  stream: string,
  head: string,
  { first, key }: Pick<EntrySeal, 'first' | 'key'>,
): string =>
  canonicalText({
    type: 'retrai.ledger-entries.v1',
    ledger: stream.slice(OWN_STREAM_PREFIX.length),
    first,
    head,
    key,
  })

export function sealEntry(
  stream: string,
  head: string,
  first: number,
  { key, sign }: Signer,
): EntrySeal {
  return { first, key, signature: sign(sealedText(stream, head, { first, key })) }
}

const Salt = z.string().regex(/^[0-9a-f]{32}$/)
const common = {
  /** Version of the record's shape. */
  schema: z.int(),
  /** Unique to the command that wrote the record: two writers never make the same event. */
  command_id: z.string(),
  /** The person who caused it, if a person did. */
  principal: z.string().exactOptional(),
  prev_hash: Sha256,
  hash: Sha256,
}
const ByPointer = z.record(z.string().startsWith('/'), Sha256)
const WholeMeta = z.strictObject({ ...common, salt: Salt })
const RedactedMeta = z.strictObject({ ...common, salts: ByPointer, redacted: ByPointer })
const EntryMeta = z.strictObject({
  ...common,
  salt: Salt,
  /** Not a part of what is hashed. */
  seal: EntrySeal.exactOptional(),
})

/** The metadata of a record as it is written. With the salt, which is random, the commitments to its strings are made. */
export type SaltedMeta = Readonly<z.infer<typeof EntryMeta>>

/** The metadata of the event of a record: as written, or after a redaction. */
export type RecordMeta = SaltedMeta | (Omit<SaltedMeta, 'salt'> & RedactedSalts)

/** A record at its place in its stream. */
export type Logged<R> = {
  readonly seq: number
  readonly record: R
  readonly meta: RecordMeta
}

/** Version of the records that this version writes. */
export const SCHEMA = 1

/** Why text that is not JSON, or JSON that is written in another way than ours, is not a record. */
export const OTHER_TEXT =
  'its text is not the JSON that would be written for its contents: a name twice, white space, or another spelling'

/**
 * Reads the metadata of a record in a stream. The names say which of the two forms is meant, so that an error is about
 * that form.
 * @throws if it is not the metadata of a record of a schema that is known here
 */
export function readMeta(metadata: unknown, stream: string): RecordMeta {
  const meta = shapeOf(metadata, stream).parse(metadata)
  if (meta.schema <= SCHEMA) return meta
  throw new Error(`it has schema ${meta.schema}, this version reads up to ${SCHEMA}: update it`)
}

function shapeOf(metadata: unknown, stream: string) {
  if (mayBeSealed(stream)) return EntryMeta
  const isRedacted = typeof metadata === 'object' && metadata !== null && 'redacted' in metadata
  return isRedacted ? RedactedMeta : WholeMeta
}

/** Distributes over the union. */
type Unhashed<M extends RecordMeta = RecordMeta> = M extends RecordMeta ? Omit<M, 'hash'> : never

/** `prev_hash` of the first record of a stream. */
export const GENESIS = '0'.repeat(64)

/**
 * SHA-256 (hex) over the RFC 8785 canonical form of the record together with its place in the stream and its
 * metadata. Commitments replace the strings of the payload; the salts and the hash itself are left out. So a
 * redaction does not change it.
 * @throws NotAsRedacted if the record does not have the strings that its metadata names
 */
export function recordHash(
  seq: number,
  record: { readonly payload: object; readonly [name: string]: unknown },
  meta: Unhashed,
): string {
  const { payload } = record
  const committedPayload =
    'salt' in meta ? committed(payload, meta.salt) : committedRedacted(payload, meta)
  // There are commitments only to strings of the payload, so its text is put in whole, in the order of the names.
  return sha256(
    canonicalText({ ...record, ...meta, ...LEFT_OUT, seq }, (text, pointer) =>
      pointer === '/payload' ? committedPayload : quoted(text),
    ),
  )
}

/** A member that is undefined has no place in a canonical form. */
const LEFT_OUT = {
  payload: '',
  hash: undefined,
  salt: undefined,
  salts: undefined,
  redacted: undefined,
  seal: undefined,
}

/** The event id of a record: an RFC 9562 UUIDv8 made of the first bits of its hash, a SHA-256 (hex). */
export function uuidOfHash(hash: string): string {
  const variant = ((Number.parseInt(hash.charAt(16), 16) & 0x3) | 0x8).toString(16)
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-${variant}${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}
