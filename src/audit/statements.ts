import { z } from 'zod'
import { canonicalJson, sha256 } from './canonical.ts'
import { LedgerName } from './ledgers.ts'
import { hasSigned, type KnownKeys, Moment, Sha256 } from './public-keys.ts'

/** Every signed statement names its type, so that none can be taken for another. */
const sealed = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
  z.strictObject({
    type: z.literal(type),
    ...shape,
    key: Sha256.describe('Fingerprint of the key that signed'),
    signature: z
      .string()
      .regex(/^[0-9a-f]{128}$/)
      .describe(
        'Ed25519, hex, over the RFC 8785 canonical form of this object without `signature`',
      ),
  })

const count = z.int().nonnegative()

/** What the server has of a run: how many records, and the hash of the last. */
export const RunProof = sealed('retrai.run-proof.v1', {
  run_id: z.uuid(),
  length: z.int().positive(),
  head: Sha256.describe('Hash of the last record, which commits to all before it'),
  last_kind: z.string().describe('`run_end` where the run is complete'),
  signed_at: Moment,
})
export type RunProof = z.infer<typeof RunProof>

/** What the server has of one of the ledgers beside the runs. */
export const LedgerProof = sealed('retrai.ledger-proof.v1', {
  ledger: LedgerName,
  length: count,
  head: Sha256.describe(
    'Hash of the last entry, which commits to all before it; 64 zeros for none',
  ),
  signed_at: Moment,
})
export type LedgerProof = z.infer<typeof LedgerProof>

/** What the server has of all runs and ledgers. */
export const Checkpoint = sealed('retrai.checkpoint.v1', {
  log_id: z.uuid().describe('The log that is spoken of'),
  number: count.describe('Counts the checkpoints of the log from 0'),
  runs: count.describe('How many runs and ledgers'),
  root: Sha256.describe(
    'Merkle root (RFC 6962) over run id, length and head of all runs and ledgers',
  ),
  previous: Sha256.describe(
    'SHA-256 of the canonical form of the checkpoint before; 64 zeros for none',
  ),
  signed_at: Moment,
})
export type Checkpoint = z.infer<typeof Checkpoint>

/** What an export holds; the first part of each. */
export const Manifest = sealed('retrai.export.v1', {
  run_id: z.uuid(),
  records: z.int().positive(),
  exported_at: Moment,
  /** In the order in which they stand in the archive, behind the manifest itself. */
  parts: z
    .array(z.strictObject({ path: z.string(), bytes: count, sha256: Sha256 }).readonly())
    .readonly(),
  /** Artifacts that records name and that the server did not have. */
  missing_artifacts: z.array(Sha256).readonly(),
})
export type Manifest = z.infer<typeof Manifest>

export type Sealed = RunProof | LedgerProof | Checkpoint | Manifest
/** A statement before it is signed. */
export type Unsigned<T extends Sealed> = Omit<T, 'key' | 'signature'>

/** Signs with a server's key in use. */
export type Signer = {
  /** Fingerprint of the key. */
  readonly key: string
  /** @returns the Ed25519 signature, hex */
  sign(text: string): string
}

export function seal<T extends Sealed>(statement: Unsigned<T>, { key, sign }: Signer): T {
  const unsigned = { ...statement, key }
  return { ...unsigned, signature: sign(canonicalJson(unsigned)) } as unknown as T
}

/** Whether a statement is signed: by which known key it should be is told by the statement. */
export function checkSeal(
  { signature, ...statement }: Sealed,
  keys: KnownKeys,
): 'good' | 'unknown_key' | 'bad' {
  const key = keys.get(statement.key)
  if (key === undefined) return 'unknown_key'
  return hasSigned(key, canonicalJson(statement), signature) ? 'good' : 'bad'
}

/** The hash by which the next checkpoint names this one. */
export const checkpointHash = (checkpoint: Checkpoint): string => sha256(canonicalJson(checkpoint))
