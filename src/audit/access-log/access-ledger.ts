import { err, Result } from 'neverthrow'
import { ledgerStream } from '../../api/audit.ts'
import { AccessEntry } from '../../domain/access.ts'
import { decodeAs, type Logged } from '../../log/codec.ts'
import type { StreamDefinition } from '../../log/decider.ts'
import type { LoadError } from '../../log/run-log.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { type LedgerRange, ledgerPages } from '../ledgers.ts'

/** Who was shown what. Its state is whether the command with this id has written. */
export const accessLedger = (id: string): StreamDefinition<AccessEntry, boolean> => ({
  stream: ledgerStream('access'),
  schema: AccessEntry,
  sealedTogether: true,
  initial: false,
  evolve: (hasWritten, { meta }) => hasWritten || meta.command_id === id,
})

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
