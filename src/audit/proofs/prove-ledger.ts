import type { ResultAsync } from 'neverthrow'
import type { LedgerName, LedgerProof } from '../../api/audit.ts'
import type { LoadError } from '../../log/run-log.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { ledgerEnd } from '../ledgers.ts'
import { type Signer, seal } from './statements.ts'

/** A signed statement of what the log has of a ledger now, by its last entry. */
export function proveLedger(
  store: StreamReader,
  ledger: LedgerName,
  signer: Signer,
  now: Date,
): ResultAsync<LedgerProof, LoadError> {
  return ledgerEnd(store, ledger).map(({ length, head }) =>
    seal<LedgerProof>(
      { type: 'retrai.ledger-proof.v1', ledger, length, head, signed_at: now.toISOString() },
      signer,
    ),
  )
}
