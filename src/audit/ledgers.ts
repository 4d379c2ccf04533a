import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { LEDGERS, type LedgerName, ledgerStream, type UnsignedEntries } from '../api/audit.ts'
import { GENESIS } from '../log/chain.ts'
import { decodeAs } from '../log/codec.ts'
import type { LoadError } from '../log/run-log.ts'
import { eventAt, type StreamReader, streamPages } from '../log/stream-pages.ts'
import type { ReadError, RecordedEvent, Revision } from '../store/event-store.ts'
import { eventLine } from './bundle/record-lines.ts'

/** The ledger that a stream holds; null for another stream. */
export function ledgerOf(stream: string): LedgerName | null {
  return LEDGERS.find((name) => ledgerStream(name) === stream) ?? null
}

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
export function unsignedLength(
  store: StreamReader,
  name: LedgerName,
): ResultAsync<number, LoadError> {
  const find = async (): Promise<Result<number, LoadError>> => {
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
  return new ResultAsync(find())
}

/** Which entries, and in which direction. `after` is exclusive; without it, all. */
export type LedgerRange = {
  readonly after?: number | undefined
  readonly direction?: 'forward' | 'backward'
}

/** A ledger in pages, up to its end. */
export async function* ledgerPages(
  store: StreamReader,
  name: LedgerName,
  range: LedgerRange = {},
): AsyncGenerator<Result<readonly RecordedEvent[], ReadError>> {
  for await (const page of streamPages(store, ledgerStream(name), range)) {
    if (page.isErr() && page.error.type === 'stream_not_found') return
    yield page
  }
}

/** The lines of a ledger, with checksums. @throws if the store cannot be read */
export async function* ledgerLines(store: StreamReader, name: LedgerName): AsyncGenerator<Buffer> {
  for await (const page of ledgerPages(store, name)) {
    if (page.isErr()) throw new Error(`a ledger cannot be read: ${JSON.stringify(page.error)}`)
    yield Buffer.from(page.value.map((event) => `${eventLine(event, 'checksummed')}\n`).join(''))
  }
}

/** The same of all ledgers; null if one of them cannot be read now. */
export const unsignedEntries = async (store: StreamReader): Promise<UnsignedEntries | null> =>
  ResultAsync.combine(LEDGERS.map((name) => unsignedLength(store, name)))
    .map(([access = 0, redactions = 0, tokens = 0]) => ({ access, redactions, tokens }))
    .unwrapOr(null)
