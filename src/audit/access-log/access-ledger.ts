import { err, ok, Result, type ResultAsync } from 'neverthrow'
import { ledgerStream } from '../../api/audit.ts'
import { AccessEntry } from '../../domain/access.ts'
import { decodeAs, type Logged } from '../../log/codec.ts'
import { emptyStream, type Folded, type StreamDefinition } from '../../log/decider.ts'
import type { LoadError } from '../../log/run-log.ts'
import { eventAt, type StreamReader } from '../../log/stream-pages.ts'
import { type LedgerRange, ledgerPages } from '../ledgers.ts'

/** Who was shown what. Its state is the id of the command that wrote last. */
export const ACCESS_LEDGER: StreamDefinition<AccessEntry, string | null> = {
  stream: ledgerStream('access'),
  schema: AccessEntry,
  initial: null,
  evolve: (_, { meta }) => meta.command_id,
}

/** The state of the ledger, from its last entry: a writer needs to read no other. */
export function accessLedgerEnd(
  store: StreamReader,
): ResultAsync<Folded<string | null>, LoadError> {
  const { stream, schema } = ACCESS_LEDGER
  return eventAt(store, stream, 'end').andThen(
    (event): Result<Folded<string | null>, LoadError> =>
      event === null
        ? ok(emptyStream(ACCESS_LEDGER))
        : decodeAs(schema, event).map(({ seq, meta }) => {
            return { revision: seq, head: meta.hash, state: meta.command_id }
          }),
  )
}

/** The entries in pages, up to the last one. */
export async function* readAccesses(
  store: StreamReader,
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
