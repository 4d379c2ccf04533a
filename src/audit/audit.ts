import { Readable } from 'node:stream'
import { okAsync, ResultAsync } from 'neverthrow'
import {
  type Checkpoint,
  type InclusionProof,
  LEDGERS,
  type LedgerName,
  type LedgerProof,
  type PublishedKeys,
  type RunProof,
} from '../api/audit.ts'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import type { LoadError } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import { readAccesses } from './access-log/access-ledger.ts'
import type { ExportError } from './bundle/export-parts.ts'
import { exportRun } from './bundle/export-run.ts'
import {
  type CheckpointError,
  type CheckpointLog,
  checkpointAt,
  keysInLog,
  listCheckpoints,
} from './checkpoints/checkpoint-stream.ts'
import { proveInclusion, type RunHeads } from './checkpoints/run-heads.ts'
import { type LedgerRange, ledgerLines } from './ledgers.ts'
import type { Keyring, KeyringFailure } from './proofs/keyring.ts'
import { proveLedger, proveRun } from './proofs/statements.ts'

export type AuditError = LoadError | KeyringFailure | CheckpointError | ExportError

type AuditDeps = {
  readonly store: StreamReader
  /** The read model; a proof must agree with it. */
  readonly runs: Pick<RunHeads, 'get'>
  readonly keyring: Keyring
  readonly artifacts: ArtifactSource
  readonly clock: () => Date
}

/** What a server gives to an auditor. Run ids are in lower case. */
export type Audit = {
  /** @param all also the keys that other servers have published in the log */
  keys(all?: boolean): ResultAsync<PublishedKeys, AuditError>
  prove(runId: string): ResultAsync<RunProof, AuditError>
  /** A .tar.gz, which is made while it is read. */
  exportRun(runId: string): ResultAsync<Readable, AuditError>
  /** At most `limit` checkpoints after the number `after`, oldest first. */
  checkpoints(after: number, limit: number): ResultAsync<readonly Checkpoint[], AuditError>
  /** Null if there is no such checkpoint. */
  checkpoint(number: number | 'latest'): ResultAsync<CheckpointLog | null, AuditError>
  proveLedgers(): ResultAsync<readonly LedgerProof[], AuditError>
  proveLedger(name: LedgerName): ResultAsync<LedgerProof, AuditError>
  /** The lines of a ledger, with checksums, made while they are read. */
  ledgerLines(name: LedgerName): Readable
  /** The access log in pages, up to its end. */
  accesses(range: LedgerRange): ReturnType<typeof readAccesses>
  /** Null if the run is not in the checkpoint. */
  inclusion(log: CheckpointLog, runId: string): InclusionProof | null
}

export function createAudit({ store, runs, keyring, artifacts, clock }: AuditDeps): Audit {
  const proveLedgerNow = (name: LedgerName) =>
    keyring.load().andThen(({ signer }) => proveLedger(store, name, signer, clock()))
  return {
    keys: (all = false) =>
      keyring.load().andThen(({ published: { keys } }) =>
        (all ? keysInLog(store) : okAsync([])).map((inLog) => {
          const own = new Set(keys.map(({ fingerprint }) => fingerprint))
          return { keys: [...keys, ...inLog.filter(({ fingerprint }) => !own.has(fingerprint))] }
        }),
      ),

    prove: (runId) =>
      keyring
        .load()
        .andThen(({ signer }) => proveRun(store, runs.get(runId), runId, signer, clock())),

    exportRun: (runId) =>
      keyring
        .load()
        .andThen((keys) =>
          proveRun(store, runs.get(runId), runId, keys.signer, clock()).andThen((proof) =>
            exportRun({ store, artifacts, keys, now: clock() }, proof),
          ),
        ),

    checkpoints: (after, limit) => listCheckpoints(store, after, limit),

    checkpoint: (number) => checkpointAt(store, number),

    proveLedgers: () => ResultAsync.combine(LEDGERS.map(proveLedgerNow)),
    proveLedger: proveLedgerNow,
    ledgerLines: (name) => Readable.from(ledgerLines(store, name), { objectMode: false }),
    accesses: (range) => readAccesses(store, range),

    inclusion: proveInclusion,
  }
}
