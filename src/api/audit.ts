import * as z from 'zod'
import { OWN_STREAM_PREFIX } from '../domain/own-streams.ts'

/** 64 lower-case hex digits. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits')

/** ISO 8601 in UTC, with milliseconds. */
export const Moment = z.iso.datetime({ precision: 3 })

/** A public key of a server. Signatures made before it was retired stay good. */
export const PublishedKey = z.strictObject({
  fingerprint: Sha256.describe('SHA-256 of the key in DER (SubjectPublicKeyInfo)'),
  public_key: z.string().describe('Ed25519, PEM (SubjectPublicKeyInfo)'),
  created: Moment,
  retired: Moment.nullable().describe('When another key took its place; null for the one in use'),
})
export type PublishedKey = z.infer<typeof PublishedKey>

/** What GET /api/keys answers, and what `keys.json` of an export holds. */
export const PublishedKeys = z.strictObject({ keys: z.array(PublishedKey).readonly() })
export type PublishedKeys = z.infer<typeof PublishedKeys>

/** What is kept beside the runs, in chained streams of their own. */
export const LEDGERS = ['access', 'redactions', 'tokens'] as const
export const LedgerName = z.enum(LEDGERS)
export type LedgerName = z.infer<typeof LedgerName>

export const ledgerStream = (name: LedgerName): string => `${OWN_STREAM_PREFIX}${name}`

/** Every signed statement names its type, so that none can be taken for another. */
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
  length: z.int().nonnegative(),
  head: Sha256.describe(
    'Hash of the last entry, which commits to all before it; 64 zeros for none',
  ),
  signed_at: Moment,
})
export type LedgerProof = z.infer<typeof LedgerProof>

/** What the server has of all runs and ledgers. */
export const Checkpoint = sealed('retrai.checkpoint.v1', {
  log_id: z.uuid().describe('The log that is spoken of'),
  number: z.int().nonnegative().describe('Counts the checkpoints of the log from 0'),
  runs: z.int().nonnegative().describe('How many runs and ledgers'),
  root: Sha256.describe(
    'Merkle root (RFC 6962) over run id, length and head of all runs and ledgers',
  ),
  previous: Sha256.describe(
    'SHA-256 of the canonical form of the checkpoint before; 64 zeros for none',
  ),
  signed_at: Moment,
})
export type Checkpoint = z.infer<typeof Checkpoint>

/**
 * How far a run had come: its number of records, and the hash of the last. A ledger is told of in the same
 * way, with the name of its stream in the place of the run id.
 */
export const RunHead = z.strictObject({
  run_id: z.union([z.uuid(), z.enum(LEDGERS.map(ledgerStream))]),
  length: z.int().positive(),
  head: Sha256,
})
export type RunHead = z.infer<typeof RunHead>

/** That a run, with this length and head, is one of those that a checkpoint is made over. */
export const InclusionProof = z.strictObject({
  checkpoint: Checkpoint,
  leaf: RunHead,
  index: z.int().nonnegative().describe('Place of the leaf among all, which stand by run id'),
  path: z.array(Sha256).describe('RFC 6962 audit path: the hashes from the leaf up to the root'),
})
export type InclusionProof = z.infer<typeof InclusionProof>
