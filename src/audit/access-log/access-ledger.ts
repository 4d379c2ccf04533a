import { err, ok, Result, ResultAsync } from 'neverthrow'
import { ledgerStream } from '../../api/audit.ts'
import { AccessEntry } from '../../domain/access.ts'
import { decodeAs, type Logged } from '../../log/codec.ts'
import { emptyStream, type Folded, type StreamDefinition } from '../../log/decider.ts'
import type { LoadError } from '../../log/run-log.ts'
import type { RunReader } from '../../log/run-pages.ts'
import { type LedgerRange, ledgerPages } from '../ledgers.ts'

/** Who was shown what. All that is folded from it is which command has written last. */
export const ACCESS_LEDGER: StreamDefinition<AccessEntry, string | null> = {
  stream: ledgerStream('access'),
  schema: AccessEntry,
  initial: null,
  evolve: (_, { meta }) => meta.command_id,
}

/** The ledger as its last entry tells it: nothing before needs to be read to write behind it. */
export function accessLedgerEnd(store: RunReader): ResultAsync<Folded<string | null>, LoadError> {
  const { stream, schema } = ACCESS_LEDGER
  const find = async (): Promise<Result<Folded<string | null>, LoadError>> => {
    const page = await store.readStream(stream, { from: 'end', direction: 'backward', limit: 1 })
    if (page.isErr() && page.error.type !== 'stream_not_found') return err(page.error)
    const [last] = page.unwrapOr([])
    if (last === undefined) return ok(emptyStream(ACCESS_LEDGER))
    return decodeAs(schema, last).map(({ seq, meta }) => ({
      revision: seq,
      head: meta.hash,
      state: meta.command_id,
    }))
  }
  return new ResultAsync(find())
}

/** The entries in pages, up to the end of what there is. */
export async function* readAccesses(
  store: RunReader,
  options: LedgerRange,
): AsyncGenerator<Result<readonly Logged<AccessEntry>[], LoadError>> {
  for await (const page of ledgerPages(store, 'access', options)) {
    if (page.isErr()) {
      yield err(page.error)
      return
    }
    yield Result.combine(page.value.map((event) => decodeAs(AccessEntry, event)))
  }
}
