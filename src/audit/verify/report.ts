import type { Trust } from '../../checkpoints/public-keys.ts'
import type { IsolationPolicy } from '../../domain/isolation.ts'
import type { RecordedVerdict } from './read-record.ts'
import type { BadRecord } from './verify-run.ts'

/** One thing that does not hold. */
export type Finding = {
  /**
   * As of `BadRecord`, and: `incomplete`, the archive ends early; `unexpected`, a part does not belong there;
   * `signature`, a statement is not signed by the key that it names; `family`, a run and the run of its sub-agent
   * disagree about each other; `redaction`, a text was redacted and that is not recorded, or a recorded redaction was
   * not carried out; `unwitnessed`, a witness has not seen it; `unreachable`: an artifact that cannot be read now, so it is not known whether it holds.
   */
  readonly problem:
    | BadRecord['problem']
    | 'incomplete'
    | 'unexpected'
    | 'family'
    | 'redaction'
    | 'unwitnessed'
    | 'unreachable'
  /** The part of an export, or the run or ledger of a store. */
  readonly where: string
  /** The record it is about; null if it is not about a record. */
  readonly seq: number | null
  readonly message: string
}

/** @param seq of the record that it is about */
export const finding = (
  problem: Finding['problem'],
  where: string,
  message: string,
  seq: number | null = null,
): Finding => ({ problem, where, seq, message })

/** Whether findings show that something does not hold, and not only that something could not be read. */
export const isBroken = (findings: readonly Finding[]): boolean =>
  findings.some(({ problem }) => problem !== 'unreachable')

/** One redaction, for people. */
export type ReportedRedaction = {
  /** Its place in the ledger. */
  readonly entry: number
  /** The key that signed it; null if an earlier version made it, which did not sign. */
  readonly key: string | null
  readonly run_id: string
  readonly seq: number
  readonly pointers: readonly string[]
  readonly artifact: string | null
  readonly reason: string
  readonly principal: string | null
  /** Seconds since the epoch. */
  readonly ts: number
}

/** Redactions that hold: they are recorded and were carried out. */
export type RedactionReport = {
  readonly strings: number
  readonly records: number
  readonly artifacts: number
  readonly redactions: readonly ReportedRedaction[]
}

/** A record that names a record of another run, with which it was not compared. */
export type NotCompared = {
  readonly run_id: string
  readonly seq: number
  readonly why: string
}

/** The comparison of runs with the runs of their sub-agents. */
export type FamilyReport = {
  /** Sub-agents about which their log and that of their parent say the same. */
  readonly compared: number
  readonly not_compared: readonly NotCompared[]
  /** Runs that begin from a record that is what they name, and how many of these have a redacted one before it. Left out if none. */
  readonly origins?: { readonly compared: number; readonly redacted: number }
}

/** Objects that snapshots name and that are not in an export. */
export type AbsentFiles = {
  /** Masking finds a secret in them. */
  readonly masked: number
  readonly redacted: number
  /** The server did not keep them, or got the run from an export without them. */
  readonly not_kept: number
  /** Contents of files that an export does not have to hold. */
  readonly not_exported: number
}

/** The files of a run. */
export type SnapshotsReport = {
  readonly snapshots: number
  /** Trees and contents of files that are what the snapshots name. */
  readonly trees: number
  readonly contents: number
  /** Whether the export should hold all files of the first and the last snapshot. */
  readonly first_and_last: boolean
  readonly absent: AbsentFiles
  /** Those that are masked. */
  readonly withheld: readonly { readonly id: string; readonly path: string }[]
}

/** Where a run is in the log of checkpoints of its server. */
export type LogReport = {
  readonly origin: string
  /** The number of the checkpoint that covers the run, and how many records of it. */
  readonly checkpoint: number
  readonly records: number
  /** The witnesses that the reader trusts and that have signed the tree with the checkpoint, each with the time. */
  readonly seen_by: readonly { readonly name: string; readonly at: string }[]
}

/** A time stamp over a checkpoint that covers the run. */
export type StampReport = {
  /** Who has stamped it, by the certificate, and when. */
  readonly name: string
  readonly at: string
  readonly checkpoint: number
  readonly records: number
  /** SHA-256 of the last certificate of the authority in the export, and whether the reader has named one of them. */
  readonly fingerprint: string
  readonly is_trusted: boolean
}

/** The newest checkpoint that a witness has seen, when it signed that, and which one is the newest of all. */
export type SeenCheckpoint = {
  readonly name: string
  readonly at: string
  readonly number: number
  readonly newest: number
}

/** The result of a verification. */
export type BundleReport = {
  /** Everything was read, and nothing is wrong. `trust` reports separately whether to trust the key. */
  readonly holds: boolean
  readonly trust: Trust
  readonly run_id: string | null
  /** How many records were verified, and how many the proof covers. */
  readonly verified: number
  readonly signed: number | null
  /** The run had ended when it was exported. */
  readonly complete: boolean
  readonly head: string | null
  /** Fingerprint of the key, and when the proof was signed. */
  readonly key: string | null
  readonly signed_at: string | null
  readonly artifacts: number
  /** Artifacts that an export does not hold before the end of its run: the check that the agent does not see. */
  readonly withheld: number
  /** Null if the export does not say it. */
  readonly log: LogReport | null
  /** Null if it has none. */
  readonly stamp: StampReport | null
  /** What the snapshots of the run name; null if it has none. */
  readonly files: SnapshotsReport | null
  /** What the last record says of the goal; null if it has none, and in runs of earlier versions. */
  readonly verdict: RecordedVerdict | null
  /** How the commands of the run were isolated, by its first record, which the signature covers; null if it does not say. */
  readonly isolation: IsolationPolicy | null
  /** The hash of the policy that the signature names; null if it names none, as those of earlier versions. */
  readonly signed_policy: string | null
  /** How many calls and checks were isolated in another way, by their records; a home of its own does not count. */
  readonly isolated_otherwise: number
  /** The redactions of the run that hold. */
  readonly redacted: RedactionReport
  /** Empty if the run has no sub-agents and is not a sub-agent. */
  readonly family: FamilyReport
  /** The first record that differs from what was signed. */
  readonly first_bad_seq: number | null
  readonly findings: readonly Finding[]
}

/** The result of a verification of several exports. A finding about one of them is also in its own report. */
export type FilesReport = {
  readonly holds: boolean
  readonly trust: Trust
  readonly exports: readonly BundleReport[]
  readonly family: FamilyReport
  readonly findings: readonly Finding[]
}
