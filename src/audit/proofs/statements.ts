import * as z from 'zod'
import { type Checkpoint, type LedgerProof, type RunProof, sealed } from '../../api/audit.ts'
import { Sha256, Timestamp } from '../../api/fields.ts'
import { sha256 } from '../../lib/sha256.ts'
import { canonicalJson } from './canonical.ts'
import { hasSigned, type KnownKeys } from './public-keys.ts'

/** What an export holds; the first part of each. */
export const Manifest = sealed('retrai.export.v1', {
  run_id: z.uuid(),
  records: z.int().positive(),
  exported_at: Timestamp,
  /** In the order in which they stand in the archive, behind the manifest itself. */
  parts: z
    .array(
      z.strictObject({ path: z.string(), bytes: z.int().nonnegative(), sha256: Sha256 }).readonly(),
    )
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
