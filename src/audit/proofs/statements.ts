import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { Checkpoint, LedgerName, LedgerProof, RunProof } from '../../api/audit.ts'
import { sha256 } from '../../lib/sha256.ts'
import { type DamagedRecord, decode } from '../../log/codec.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { Signer } from '../../log/entry-seal.ts'
import { type LoadError, type LoadedRun, streamOf } from '../../log/run-log.ts'
import { lastEvent, type StreamReader } from '../../log/stream-pages.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import type { Manifest } from '../bundle/bundle-format.ts'
import { ledgerEnd } from '../ledgers.ts'
import { hasSigned, type KnownKeys } from './public-keys.ts'

export type Sealed = RunProof | LedgerProof | Checkpoint | Manifest
/** A statement before it is signed. */
type Unsigned<T extends Sealed> = Omit<T, 'key' | 'signature'>

export function seal<T extends Sealed>(statement: Unsigned<T>, { key, sign }: Signer): T {
  const unsigned = { ...statement, key }
  return { ...unsigned, signature: sign(canonicalText(unsigned)) } as unknown as T
}

/** Checks the signature of a statement. The statement names the key, which must be a known one. */
export function checkSeal(
  { signature, ...statement }: Sealed,
  keys: KnownKeys,
): 'good' | 'unknown_key' | 'bad' {
  const key = keys.get(statement.key)
  if (key === undefined) return 'unknown_key'
  return hasSigned(key, canonicalText(statement), signature) ? 'good' : 'bad'
}

/** The hash by which the next checkpoint names this one. */
export const checkpointHash = (checkpoint: Checkpoint): string => sha256(canonicalText(checkpoint))

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
