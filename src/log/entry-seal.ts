import type { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { Sha256 } from '../domain/fields.ts'
import { OWN_STREAM_PREFIX } from '../domain/records.ts'
import type { StoreFailure } from '../store/event-store.ts'
import { canonicalText } from './commitment.ts'

/** Signs with the key that a server uses now. */
export type Signer = {
  /** Fingerprint of the key. */
  readonly key: string
  /** @returns the Ed25519 signature, hex */
  sign(text: string): string
}

/** The signer now: keys rotate while a server works. */
export type Signing = () => ResultAsync<Signer, StoreFailure>

/** In the metadata of an entry of a ledger: who signs it, and the entries before it from `first` on. */
export const EntrySeal = z.strictObject({
  first: z.int().nonnegative(),
  key: Sha256,
  signature: z.string().regex(/^[0-9a-f]{128}$/),
})
export type EntrySeal = z.infer<typeof EntrySeal>

/** Whether a stream is a ledger: its entries may be signed, and records of runs may not. */
export const mayBeSealed = (stream: string): boolean => stream.startsWith(OWN_STREAM_PREFIX)

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
