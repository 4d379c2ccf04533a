import type { Checkpoint, LedgerProof, RunProof } from '../../api/audit.ts'
import { sha256 } from '../../lib/sha256.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { Manifest } from '../bundle/bundle-format.ts'
import { hasSigned, type KnownKeys } from './public-keys.ts'

export type Sealed = RunProof | LedgerProof | Checkpoint | Manifest
/** A statement before it is signed. */
export type Unsigned<T extends Sealed> = Omit<T, 'key' | 'signature'>

/** Signs with the key that a server uses now. */
export type Signer = {
  /** Fingerprint of the key. */
  readonly key: string
  /** @returns the Ed25519 signature, hex */
  sign(text: string): string
}

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
