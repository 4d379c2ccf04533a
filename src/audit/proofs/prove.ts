import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { LedgerName, LedgerProof, RunProof } from '../../api/audit.ts'
import { type DamagedRecord, decode } from '../../log/codec.ts'
import { type LoadError, type LoadedRun, streamOf } from '../../log/run-log.ts'
import { lastEvent, type StreamReader } from '../../log/stream-pages.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { ledgerEnd } from '../ledgers.ts'
import { type Signer, seal } from './statements.ts'

/**
 * Signs what the log has of a run now, by the run's last record.
 * @param projected the run as the read model has it, which must agree; null if that is not known
 */
export function proveRun(
  store: StreamReader,
  projected: LoadedRun | null,
  runId: string,
  signer: Signer,
  now: Date,
): ResultAsync<RunProof, LoadError> {
  return lastEvent(store, streamOf(runId))
    .andThen((event) => confirmed(event, projected))
    .andThen((end) => policyOf(store, runId).map((policy) => ({ ...end, ...policy })))
    .map((confirmed) =>
      seal<RunProof>(
        {
          type: 'retrai.run-proof.v1',
          run_id: runId,
          ...confirmed,
          signed_at: now.toISOString(),
        },
        signer,
      ),
    )
}

/** The policy that the first record of a run names, if it does. If that record is damaged, a verifier finds that. */
function policyOf(
  store: StreamReader,
  runId: string,
): ResultAsync<Pick<RunProof, 'policy_sha256'>, LoadError> {
  return store
    .readStream(streamOf(runId), { from: 0, direction: 'forward', limit: 1 })
    .map(([event]) => {
      const first = event === undefined ? null : decode(event).unwrapOr(null)
      if (first?.record.kind !== 'run_created') return {}
      const { isolation } = first.record.payload
      return isolation === undefined ? {} : { policy_sha256: isolation.policy_sha256 }
    })
}

function confirmed(
  event: RecordedEvent,
  projected: LoadedRun | null,
): Result<Pick<RunProof, 'length' | 'head' | 'last_kind'>, DamagedRecord> {
  const decoded = decode(event)
  if (decoded.isErr()) return err(decoded.error)
  const { seq, record, meta } = decoded.value
  const damaged = (message: string): DamagedRecord => {
    return { type: 'damaged_record', stream: event.stream, seq, message }
  }
  if (projected !== null && projected.state.seq > seq) {
    return err(damaged(`the run had ${projected.state.seq + 1} records before: its end is cut off`))
  }
  if (projected?.state.seq === seq && projected.head !== meta.hash) {
    return err(damaged('it is not the record that was read here before'))
  }
  return ok({ length: seq + 1, head: meta.hash, last_kind: record.kind })
}

/** Signs what the log has of a ledger now, by the ledger's last entry. */
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
