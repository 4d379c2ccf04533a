import type {
  CheckpointSigner,
  Finding,
  RedactionReport,
  Trust,
} from '../../audit/verify/report.ts'

/** What was found of a store, run by run. */
export type LiveReport = {
  readonly holds: boolean
  readonly trust: Trust
  readonly runs: number
  /** Records that hold. */
  readonly records: number
  /** Entries that hold, by the name of their ledger. */
  readonly ledgers: Readonly<Record<string, number>>
  readonly artifacts: number
  /** What was taken out of runs, as it should be. */
  readonly redacted: RedactionReport
  /** The checkpoints that runs were compared with, by their numbers. */
  readonly checkpoints: readonly number[]
  /** Whose keys have signed the checkpoints of the log. */
  readonly signers: readonly CheckpointSigner[]
  /** Runs of which what the read model says was compared with the log; null if it was not. */
  readonly read_model: number | null
  readonly findings: readonly Finding[]
}
