import type { BadRecord, StoredRecord } from '../../../src/audit/verify/verify-run.ts'

/** To the worker. */
export type Question =
  /** Further records of the run, in order. */
  | { readonly type: 'records'; readonly runId: string; readonly records: readonly StoredRecord[] }
  /** Answers of the server: its proof of the run, and its public keys. */
  | { readonly type: 'proof'; readonly proof: unknown; readonly keys: unknown }

/** From the worker. */
export type Answer =
  | {
      readonly type: 'progress'
      /** How many records are valid: all before the first that is not. */
      readonly verified: number
      readonly bad: BadRecord | null
    }
  | { readonly type: 'proof'; readonly verdict: ProofVerdict }

/** The verdict on a proof by itself. */
export type ProofVerdict =
  | {
      /** Signed by a key that the server publishes, or not by the one that it names. */
      readonly type: 'good' | 'forged' | 'unknown_key'
      readonly runId: string
      readonly length: number
      readonly head: string
      /** The hash of the policy of isolation that it names; null if it names none. */
      readonly policy: string | null
      /** Fingerprint of the key, computed here. */
      readonly key: string
      readonly signedAt: string
    }
  | { readonly type: 'unreadable'; readonly message: string }
