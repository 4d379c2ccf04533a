import type { BadRecord } from './verify-run.ts'

/** One thing that does not hold. */
export type Finding = {
  /**
   * As of `BadRecord`, and: `incomplete`, the archive ends early; `unexpected`, a part that does not
   * belong there; `signature`, a statement is not signed as it says; `redaction`, a text was taken out and
   * that is not recorded, or it is recorded and was not done.
   */
  readonly problem: BadRecord['problem'] | 'incomplete' | 'unexpected' | 'signature' | 'redaction'
  /** The part of the export that it is about, or the run of a live store. */
  readonly where: string
  /** The record it is about; null where it is about none. */
  readonly seq: number | null
  readonly message: string
}

/**
 * Whose signature it is: one of the keys that the reader trusts, another one, or the reader has named
 * none, so that the archive's own key says who signed.
 */
export type Trust = 'trusted' | 'not_trusted' | 'not_compared'

/** A key that has signed checkpoints; `own` if it is one of the server that is verified. */
export type CheckpointSigner = {
  readonly key: string
  readonly own: boolean
  readonly checkpoints: number
}

/** One redaction, for people. */
export type ReportedRedaction = {
  readonly run_id: string
  readonly seq: number
  readonly pointers: readonly string[]
  readonly artifact: string | null
  readonly reason: string
  readonly principal: string | null
  /** Seconds since the epoch. */
  readonly ts: number
}

/** What was taken out of runs as it should be: it is recorded, and it was carried out. */
export type RedactionReport = {
  readonly strings: number
  readonly records: number
  readonly artifacts: number
  readonly redactions: readonly ReportedRedaction[]
}

/** What a verification has found. */
export type BundleReport = {
  /** Nothing was found to be wrong; whether to trust the key is told apart. */
  readonly holds: boolean
  readonly trust: Trust
  readonly run_id: string | null
  /** How many records were verified, and how many were signed for. */
  readonly verified: number
  readonly signed: number | null
  /** The run had ended when it was exported. */
  readonly complete: boolean
  readonly head: string | null
  /** Fingerprint of the key, and when the proof was signed. */
  readonly key: string | null
  readonly signed_at: string | null
  readonly artifacts: number
  /** What was taken out of the run, as it should be. */
  readonly redacted: RedactionReport
  /** The first record that is not what was signed. */
  readonly first_bad_seq: number | null
  readonly findings: readonly Finding[]
}
