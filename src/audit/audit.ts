import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { err, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import {
  type Checkpoint,
  LEDGERS,
  type LedgerName,
  type LedgerProof,
  type LogProof,
  type PublishedKeys,
  type RunProof,
} from '../api/audit.ts'
import type { LogState } from '../api/log.ts'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import {
  type CheckpointError,
  type CheckpointLog,
  checkpointAt,
  keysInLog,
  listCheckpoints,
} from '../checkpoints/checkpoint-stream.ts'
import { type Keyring, type KeyringFailure, seal } from '../checkpoints/keyring.ts'
import { ledgerEnd } from '../checkpoints/ledger-ends.ts'
import { proveInLog, proveStamp, readTile } from '../checkpoints/witness/log-proofs.ts'
import type { OwnLog } from '../checkpoints/witness/own-log.ts'
import type { TimeStamps } from '../checkpoints/witness/time-stamps.ts'
import type { Witnesses } from '../checkpoints/witness/witnesses.ts'
import { within } from '../lib/promises.ts'
import { noteOf } from '../lib/signed-note.ts'
import type { Signer } from '../log/chain.ts'
import { decode } from '../log/codec.ts'
import { type LoadError, streamOf } from '../log/run-log.ts'
import { eventAt, lastEvent, type StreamReader } from '../log/stream-pages.ts'
import {
  type ExportDeps,
  type ExportError,
  exportParts,
  packed,
  Unfinished,
} from './bundle/export-parts.ts'
import { type InTotoError, inTotoStatement } from './bundle/in-toto.ts'
import { type LedgerRange, ledgerLines, readAccesses } from './ledgers.ts'

export type AuditError = LoadError | KeyringFailure | CheckpointError | ExportError | InTotoError

type AuditDeps = {
  readonly store: StreamReader
  readonly keyring: Keyring
  readonly artifacts: ArtifactSource
  readonly clock: () => Date
  /** The checkpoints of this server as a tree. */
  readonly ownLog: OwnLog
  /** Null without witnesses. */
  readonly witnesses?: Pick<Witnesses, 'state'> | null
  /** Null without an authority for time stamps. */
  readonly timeStamps?: Pick<TimeStamps, 'state'> | null
}

const NO_WITNESSES = { quorum: { needed: 0, seen: 0, holds: true }, witnesses: [] }

/** What a server gives to an auditor. */
export type Audit = ReturnType<typeof createAudit>

/** Run ids are in lower case. */
export function createAudit(deps: AuditDeps) {
  const { store, keyring, artifacts, clock, ownLog, witnesses, timeStamps } = deps
  /** Null if the log of checkpoints cannot be read: the run can be proved without it. */
  const orNull = <T>(proof: ResultAsync<T | null, unknown>): ResultAsync<T | null, never> =>
    proof.orElse(() => okAsync(null))
  /** Signs what the log has of a ledger now, by its last entry. */
  const proveLedger = (ledger: LedgerName): ResultAsync<LedgerProof, AuditError> =>
    keyring.load().andThen(({ signer }) =>
      ledgerEnd(store, ledger).map((end) => {
        const type = 'retrai.ledger-proof.v1'
        return seal<LedgerProof>({ type, ledger, ...end, signed_at: clock().toISOString() }, signer)
      }),
    )
  /** A checkpoint comes first: the run may grow. */
  const proved = (runId: string) =>
    orNull(proveInLog(ownLog, runId)).andThen((log) =>
      keyring
        .load()
        .andThen((keys) =>
          proveRun(store, runId, keys.signer, clock()).map((proof) => ({ keys, proof, log })),
        ),
    )
  return {
    /** @param all also the keys that other servers have published in the log */
    keys: (all = false): ResultAsync<PublishedKeys, AuditError> =>
      keyring
        .load()
        .andThen(({ published }) => (all ? keysInLog(store, published) : okAsync(published))),

    /** The run has as many records as its checkpoint says, or more. */
    prove: (runId: string): ResultAsync<RunProof & { log: LogProof | null }, AuditError> =>
      proved(runId).map(({ proof, log }) => ({ ...proof, log })),

    /** A .tar.gz, which is made while it is read. @param files also all files of the first and the last snapshot */
    exportRun: (runId: string, files = false): ResultAsync<Readable, AuditError> =>
      orNull(proveStamp(ownLog, store, runId)).andThen((stamped) =>
        proved(runId).andThen(({ keys, proof, log }) =>
          exportRun({ store, artifacts, keys, now: clock(), files, log, stamped }, proof),
        ),
      ),

    /** The result of a run as a signed statement of in-toto, JSON. */
    inToto: (runId: string): ResultAsync<string, AuditError> =>
      proved(runId).andThen(
        ({ keys, proof, log }) => new ResultAsync(inTotoStatement(store, keys.signer, proof, log)),
      ),

    /** The log of checkpoints of this server. */
    log: {
      state: (): ResultAsync<LogState, AuditError> =>
        ownLog
          .read()
          .andThen(() => ownLog.key())
          .map((key) => {
            const { origin, size } = ownLog.head()
            const former = ownLog.former.length > 0 && { former: [...ownLog.former] }
            const stamp = timeStamps && { stamp: timeStamps.state() }
            const seen = witnesses?.state() ?? NO_WITNESSES
            return { origin, key, size, ...seen, ...stamp, ...former }
          }),
      /** @param size of the tree; by default, the newest one. Null if it is not that large */
      note: (size?: number): ResultAsync<string | null, AuditError> =>
        ownLog
          .read()
          .andThen((newest) =>
            size !== undefined && size > newest.size
              ? ok(null)
              : ownLog.cosigned(ownLog.head(size)).map(noteOf),
          ),
      key: (): ResultAsync<string, AuditError> => ownLog.read().andThen(() => ownLog.key()),
      /** A tile or a bundle of entries; null if there is none. */
      tile: (path: string): ResultAsync<Buffer | null, AuditError> => readTile(ownLog, store, path),
    },

    /** How many witnesses have seen the newest checkpoint, and when, such as `2 of 3; 2026-02-18T12:00:00.000Z`; null without any. */
    seen: (): string | null => {
      if (!witnesses) return null
      const { quorum, witnesses: all } = witnesses.state()
      const last = all
        .flatMap(({ at }) => at ?? [])
        .sort()
        .at(-1)
      return [`${quorum.seen} of ${all.length}`, ...(last ? [last] : [])].join('; ')
    },

    /** At most `limit` checkpoints after the number `after`, oldest first. */
    checkpoints: (after: number, limit: number): ResultAsync<readonly Checkpoint[], AuditError> =>
      listCheckpoints(store, after, limit),

    /** Null if there is no such checkpoint. */
    checkpoint: (number: number | 'latest'): ResultAsync<CheckpointLog | null, AuditError> =>
      checkpointAt(store, number),

    proveLedgers: () => ResultAsync.combine(LEDGERS.map(proveLedger)),
    proveLedger,

    /** The lines of a ledger, with checksums, made while they are read. */
    ledgerLines: (name: LedgerName): Readable =>
      Readable.from(ledgerLines(store, name), { objectMode: false }),

    /** The access log in pages, up to its end. */
    accesses: (range: LedgerRange) => readAccesses(store, range),
  }
}

/** Signs what the log has of a run now, by the run's last record. */
export function proveRun(
  store: StreamReader,
  runId: string,
  signer: Signer,
  now: Date,
): ResultAsync<RunProof, LoadError> {
  return lastEvent(store, streamOf(runId))
    .andThen(decode)
    .andThen(({ seq, record, meta }) =>
      policyOf(store, runId).map((policy) => {
        const end = { length: seq + 1, head: meta.hash, last_kind: record.kind, ...policy }
        const statement = { type: 'retrai.run-proof.v1', run_id: runId, ...end } as const
        return seal<RunProof>({ ...statement, signed_at: now.toISOString() }, signer)
      }),
    )
}

/** The policy that the first record of a run names, if it does. If that record is damaged, a verifier finds that. */
function policyOf(
  store: StreamReader,
  runId: string,
): ResultAsync<Pick<RunProof, 'policy_sha256'>, LoadError> {
  return eventAt(store, streamOf(runId), 0).map((event) => {
    const first = event && decode(event).unwrapOr(null)
    if (first?.record.kind !== 'run_created') return {}
    const { isolation } = first.record.payload
    return isolation === undefined ? {} : { policy_sha256: isolation.policy_sha256 }
  })
}

/** Bytes of an archive that must exist before any of it is handed out, unless that takes longer: a client waits 30 seconds for an answer. */
const HELD_BYTES = 256 * 1024
const HELD_MS = 5_000

/**
 * Exports the records that a proof covers as a .tar.gz: in one pass, at constant memory. It exports what is stored,
 * as it is; a verifier finds whether that holds. If something is redacted from the run meanwhile, the export breaks off,
 * with an error unless some of it was handed out.
 */
export function exportRun(deps: ExportDeps, proof: RunProof): ResultAsync<Readable, ExportError> {
  return new ResultAsync(withBeginning(packed(exportParts(deps, proof), deps.now)))
}

/** The archive, as soon as its beginning exists. */
async function withBeginning(archive: Readable): Promise<Result<Readable, ExportError>> {
  const held = new PassThrough({ highWaterMark: HELD_BYTES })
  const isFull = new Promise<void>((resolve) => {
    archive.on('pause', () => held.writableNeedDrain && resolve())
  })
  const whole = pipeline(archive, held)
  try {
    await within(HELD_MS, Promise.race([whole, isFull]), () => null)
    return ok(held)
  } catch (cause) {
    if (cause instanceof Unfinished) return err(cause.why)
    throw cause
  } finally {
    // What fails later, who reads the archive finds out.
    whole.catch(() => {})
  }
}
