import { err, ok, Result, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { type LedgerName, ledgerStream, type UnsignedEntries } from '../api/audit.ts'
import { GENESIS } from '../log/chain.ts'
import { decodeAs } from '../log/codec.ts'
import type { LoadError } from '../log/run-log.ts'
import { eventAt, type StreamReader } from '../log/stream-pages.ts'
import type { Revision } from '../store/event-store.ts'

/** What the entries of all ledgers have. */
export const AnyEntry = z.strictObject({
  kind: z.string(),
  ts: z.number(),
  payload: z.record(z.string(), z.unknown()),
})

/** How many entries a ledger has, and the hash of the last; GENESIS for an empty one. */
export type LedgerEnd = { readonly length: number; readonly head: string }
export const LEDGER_START: LedgerEnd = { length: 0, head: GENESIS }

/** The end of a ledger, by its last entry. @param at where it is taken to end */
export function ledgerEnd(
  store: StreamReader,
  name: LedgerName,
  at: Revision | 'end' = 'end',
): ResultAsync<LedgerEnd, LoadError> {
  return eventAt(store, ledgerStream(name), at).andThen(
    (event): Result<LedgerEnd, LoadError> =>
      event === null
        ? ok(LEDGER_START)
        : decodeAs(AnyEntry, event).map(({ seq, meta }) => ({ length: seq + 1, head: meta.hash })),
  )
}

/** How many of the first entries of a ledger nobody has signed, from what its last entries say. */
export async function unsignedLength(
  store: StreamReader,
  name: LedgerName,
): Promise<Result<number, LoadError>> {
  for (let at: Revision | 'end' = 'end'; ; ) {
    const event = await eventAt(store, ledgerStream(name), at)
    if (event.isErr()) return err(event.error)
    if (event.value === null) return ok(0)
    const entry = decodeAs(AnyEntry, event.value)
    if (entry.isErr()) return err(entry.error)
    const { seq, meta } = entry.value
    if (meta.seal === undefined) return ok(seq + 1)
    const first = Math.min(meta.seal.first, seq)
    if (first === 0) return ok(0)
    at = first - 1
  }
}

/** The ledgers to which servers of an earlier version appended entries without a signature. */
const SIGNED_LATER = ['access', 'redactions', 'tokens'] as const
/** Whether the first entries of a ledger may be unsigned. */
export const isSignedLater = (name: LedgerName): name is keyof UnsignedEntries =>
  SIGNED_LATER.some((each) => each === name)

/** How many of the first entries of these ledgers nobody has signed; null if one of them cannot be read now. */
export async function unsignedEntries(store: StreamReader): Promise<UnsignedEntries | null> {
  const lengths = await Promise.all(SIGNED_LATER.map((name) => unsignedLength(store, name)))
  return Result.combine(lengths)
    .map(([access = 0, redactions = 0, tokens = 0]) => ({ access, redactions, tokens }))
    .unwrapOr(null)
}
