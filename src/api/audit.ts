import * as z from 'zod'
import { OWN_STREAM_PREFIX, Sha256, Timestamp } from '../domain/fields.ts'

/** A public key of a server. Signatures from before it was retired remain valid. */
export const PublishedKey = z
  .strictObject({
    fingerprint: Sha256.describe('SHA-256 of the key in DER (SubjectPublicKeyInfo)'),
    public_key: z.string().describe('Ed25519, PEM (SubjectPublicKeyInfo)'),
    created: Timestamp,
    retired: Timestamp.nullable().describe(
      'When another key replaced it; null for the current key',
    ),
  })
  .meta({ id: 'PublishedKey' })
export type PublishedKey = z.infer<typeof PublishedKey>

/** GET /api/keys, and `keys.json` of an export. */
export const PublishedKeys = z
  .strictObject({ keys: z.array(PublishedKey).readonly() })
  .meta({ id: 'PublishedKeys' })
export type PublishedKeys = z.infer<typeof PublishedKeys>

/** The chained streams that a log holds in addition to the runs. */
export const LEDGERS = ['access', 'redactions', 'tokens', 'retention', 'tags', 'webhooks'] as const
export const LedgerName = z.enum(LEDGERS)
export type LedgerName = z.infer<typeof LedgerName>

export const ledgerStream = (name: LedgerName): string => `${OWN_STREAM_PREFIX}${name}`

/** Every signed statement names its type, so that nobody can pass it off as another one. */
export const sealed = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
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

/** A run as the server has it: its number of records, and the hash of the last. The `log` beside it is not signed. */
export const RunProof = sealed('retrai.run-proof.v1', {
  run_id: z.uuid(),
  length: z.int().positive(),
  head: Sha256.describe('Hash of the last record, which commits to all before it'),
  last_kind: z
    .string()
    .describe('`run_end` if the run is complete, or what was done with its files after its end'),
  policy_sha256: Sha256.exactOptional().describe(
    '`isolation.policy_sha256` of the first record. Left out if that record does not have it',
  ),
  signed_at: Timestamp,
})
  .strip()
  .meta({ id: 'RunProof' })
export type RunProof = z.infer<typeof RunProof>

/** A ledger as the server has it. */
export const LedgerProof = sealed('retrai.ledger-proof.v1', {
  ledger: LedgerName,
  length: z.int().nonnegative(),
  head: Sha256.describe(
    'Hash of the last entry, which commits to all before it; 64 zeros if there is no entry',
  ),
  signed_at: Timestamp,
}).meta({ id: 'LedgerProof' })
export type LedgerProof = z.infer<typeof LedgerProof>

const count = z.int().nonnegative()

/** By ledger: how many of its first entries are unsigned, because servers of an earlier version made them. All entries of the others are signed. */
export const UnsignedEntries = z.strictObject({ access: count, redactions: count, tokens: count })
export type UnsignedEntries = z.infer<typeof UnsignedEntries>

/** All runs and ledgers as the server has them. */
export const Checkpoint = sealed('retrai.checkpoint.v1', {
  log_id: z.uuid().describe('The id of the log'),
  number: z.int().nonnegative().describe('Counts the checkpoints of the log from 0'),
  runs: z.int().nonnegative().describe('How many runs and ledgers'),
  root: Sha256.describe(
    'Merkle root (RFC 6962) over run id, length and head of all runs and ledgers',
  ),
  previous: Sha256.describe(
    'SHA-256 of the canonical form of the previous checkpoint; 64 zeros for the first',
  ),
  unsigned_entries: UnsignedEntries.exactOptional().describe(
    'How many of the first entries of each ledger are unsigned: servers of an earlier version made them. Left out by these',
  ),
  signed_at: Timestamp,
}).meta({ id: 'Checkpoint' })
export type Checkpoint = z.infer<typeof Checkpoint>

/** The length of a run, and the hash of its last record. The run id of a ledger's head is the name of its stream. */
export const RunHead = z
  .strictObject({
    run_id: z.union([z.uuid(), z.enum(LEDGERS.map(ledgerStream))]),
    length: z.int().positive(),
    head: Sha256,
  })
  .meta({ id: 'RunHead' })
export type RunHead = z.infer<typeof RunHead>

/** Proves that a checkpoint covers a run with this length and head. */
export const InclusionProof = z
  .strictObject({
    checkpoint: Checkpoint,
    leaf: RunHead,
    index: z.int().nonnegative().describe('Index of the leaf; leaves are sorted by run id'),
    path: z.array(Sha256).describe('RFC 6962 audit path: the hashes from the leaf up to the root'),
  })
  .meta({ id: 'InclusionProof' })
export type InclusionProof = z.infer<typeof InclusionProof>

const Path = z.array(Sha256).describe('RFC 6962 audit path, from the leaf upwards')

/** Where a run is in the log of checkpoints of a server. Each part is signed, or proved by another one. */
export const LogProof = z
  .strictObject({
    note: z
      .string()
      .describe('A C2SP tlog-checkpoint, with the cosignatures of the witnesses that have seen it'),
    index: count.describe('Index of the checkpoint in the tree of the note'),
    inclusion: Path,
    checkpoint: Checkpoint,
    leaf: RunHead,
    run_index: count.describe('Index of the run in the tree of the checkpoint'),
    run_path: Path,
  })
  .meta({ id: 'LogProof' })
export type LogProof = z.infer<typeof LogProof>

/** The header of a request that only verifies a run. Its entry in the access log has the kind `run_verified`. */
export const VERIFYING = { name: 'retrai-purpose', value: 'verification' } as const
