import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { LEDGERS, type LedgerName, ledgerStream } from '../api/audit.ts'
import { GENESIS } from '../log/chain.ts'
import { decodeAs } from '../log/codec.ts'
import type { LoadError } from '../log/run-log.ts'
import type { RunReader } from '../log/run-pages.ts'
import type { ReadError, RecordedEvent } from '../store/event-store.ts'
import { eventLine } from './bundle/record-line.ts'

/** The ledger that a stream is; null for another stream. */
export function ledgerOf(stream: string): LedgerName | null {
  return LEDGERS.find((name) => ledgerStream(name) === stream) ?? null
}

/** What all entries of all ledgers have. */
export const AnyEntry = z.strictObject({
  kind: z.string(),
  ts: z.number(),
  payload: z.record(z.string(), z.unknown()),
})

/** How many entries there are, and the hash of the last; GENESIS for none. */
export type LedgerEnd = { readonly length: number; readonly head: string }
export const LEDGER_START: LedgerEnd = { length: 0, head: GENESIS }

/** Where a ledger ends, by its last entry. */
export function ledgerEnd(store: RunReader, name: LedgerName): ResultAsync<LedgerEnd, LoadError> {
  const find = async (): Promise<Result<LedgerEnd, LoadError>> => {
    const page = await store.readStream(ledgerStream(name), {
      from: 'end',
      direction: 'backward',
      limit: 1,
    })
    if (page.isErr() && page.error.type !== 'stream_not_found') return err(page.error)
    const [last] = page.unwrapOr([])
    if (last === undefined) return ok(LEDGER_START)
    return decodeAs(AnyEntry, last).map(({ seq, meta }) => ({ length: seq + 1, head: meta.hash }))
  }
  return new ResultAsync(find())
}

const PAGE = 500

/** Which entries, and which way. `after` is exclusive; without it, all. */
export type LedgerRange = {
  readonly after?: number | undefined
  readonly direction?: 'forward' | 'backward'
}

/** A ledger in pages, up to its end. */
export async function* ledgerPages(
  store: RunReader,
  name: LedgerName,
  { after, direction = 'forward' }: LedgerRange = {},
): AsyncGenerator<Result<readonly RecordedEvent[], ReadError>> {
  const step = direction === 'forward' ? 1 : -1
  let from: number | 'end' =
    after === undefined ? (direction === 'forward' ? 0 : 'end') : after + step
  while (from === 'end' || from >= 0) {
    const page = await store.readStream(ledgerStream(name), { from, direction, limit: PAGE })
    if (page.isErr() && page.error.type === 'stream_not_found') return
    yield page
    const last = page.isOk() ? page.value.at(-1) : undefined
    if (last === undefined || (page.isOk() && page.value.length < PAGE)) return
    from = last.revision + step
  }
}

/** The lines of a ledger, as in `records.ndjson` of an export. @throws where it cannot be read on */
export async function* ledgerLines(store: RunReader, name: LedgerName): AsyncGenerator<Buffer> {
  for await (const page of ledgerPages(store, name)) {
    if (page.isErr()) throw new Error(`a ledger cannot be read: ${JSON.stringify(page.error)}`)
    yield Buffer.from(page.value.map((event) => `${eventLine(event)}\n`).join(''))
  }
}
