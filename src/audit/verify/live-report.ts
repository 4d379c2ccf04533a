import { ok } from 'neverthrow'
import { type LedgerName, ledgerStream } from '../../api/audit.ts'
import type { RunRemoval } from '../../api/retention.ts'
import type { LedgerEnd } from '../../checkpoints/ledger-ends.ts'
import { type Trust, trustOf } from '../../checkpoints/public-keys.ts'
import { REDACTION_STREAM, Redaction } from '../../redaction/redaction.ts'
import { RETENTION, RetentionEntry, RetentionIndex } from '../../retention/ledger.ts'
import { type LedgerSeals, LedgersCheck, ledgerOf } from '../ledgers.ts'
import { FamilyCheck } from './family-check.ts'
import { KeptHeads } from './kept-heads.ts'
import { RedactionCheck } from './redaction-check.ts'
import {
  type FamilyReport,
  type Finding,
  finding,
  type RedactionReport,
  type ReportedRedaction,
  type SeenCheckpoint,
} from './report.ts'
import type { VerifiedCheckpoints } from './verify-checkpoints.ts'
import { type BadRecord, readStored, type StoredRecord, type VerifiedRecord } from './verify-run.ts'
import type { Wanted } from './witness-check.ts'

/** The result of the verification of a store, or of a server. */
export type LiveReport = {
  readonly holds: boolean
  readonly trust: Trust
  readonly runs: number
  /** Records that hold. */
  readonly records: number
  /** Entries that hold, by the name of their ledger. */
  readonly ledgers: Readonly<Record<string, number>>
  readonly artifacts: number
  /** Runs that are not here any more, by the ledger of retention. */
  readonly removed: readonly RunRemoval[]
  /** What is in the data folder and cannot be verified. */
  readonly unverified?: readonly string[]
  /** What the trusted witnesses have seen. Left out if the reader names none. */
  readonly witnessed?: readonly SeenCheckpoint[]
  /** The redactions that are recorded and carried out. */
  readonly redacted: RedactionReport
  /** Those that come after the kept checkpoint; null without one. */
  readonly redacted_since: readonly ReportedRedaction[] | null
  /** How the entries of ledgers are signed. */
  readonly seals: LedgerSeals
  /** How runs and the runs of their sub-agents fit together. */
  readonly family: FamilyReport
  /** The numbers of the checkpoints that runs were compared with. */
  readonly checkpoints: readonly number[]
  /** How many runs of the read model were compared with the log; null if none were. */
  readonly read_model: number | null
  readonly findings: readonly Finding[]
}

/** What a reader wants, and what else the report names. */
type Judging = Pick<LiveReport, 'artifacts' | 'read_model'> & {
  readonly wanted: Wanted
  /** Who has signed what is not in the log, such as exports. */
  readonly signers?: Iterable<string>
}

/** What is seen of all runs and ledgers, from the log of a store or from the exports of a server. */
export class LiveCheck {
  readonly retention = new RetentionIndex()
  readonly family = new FamilyCheck(true, (runId) => this.retention.removals.has(runId))
  readonly redactions = new RedactionCheck()
  readonly ledgers: LedgersCheck
  /** What is wrong, apart from what is found at the end. */
  readonly findings: Finding[] = []
  readonly #checkpoints: VerifiedCheckpoints
  /** The runs and ledgers of the last checkpoint, and of the one that the reader has kept. */
  readonly #heads: readonly KeptHeads[]
  /** How many records of each run hold. */
  readonly #lengths = new Map<string, number>()

  /** @param whose last checkpoint it is, for messages */
  constructor(checkpoints: VerifiedCheckpoints, whose: string) {
    const { latest, wanted } = checkpoints
    this.#checkpoints = checkpoints
    this.#heads = [
      ...(latest === null ? [] : [new KeptHeads(latest.heads, `the last checkpoint of ${whose}`)]),
      ...(wanted === null ? [] : [new KeptHeads(wanted.heads, 'the checkpoint that was kept')]),
    ]
    this.ledgers = new LedgersCheck(checkpoints.keys)
  }

  /** Notes a record that holds, except in `family`, which also needs to know when it was stored. */
  see(logged: VerifiedRecord): void {
    const { seq, record, meta } = logged
    this.#lengths.set(record.run_id, seq + 1)
    this.redactions.see(logged)
    for (const heads of this.#heads) heads.see(record.run_id, seq, meta.hash)
  }

  /** Takes the next entry of a ledger, or what is wrong with its line. As of `LedgersCheck`. */
  takeEntry(name: LedgerName, stored: StoredRecord | string): LedgerEnd | null {
    const end = this.ledgers.take(name, stored)
    if (end === null) this.seeBreak(ledgerStream(name))
    if (end === null || typeof stored === 'string') return end
    for (const heads of this.#heads) heads.see(ledgerStream(name), end.length - 1, end.head)
    const bad = this.#read(name, stored)
    if (bad !== null) this.findings.push({ ...bad, where: `ledger ${name}` })
    return end
  }

  /** Takes what an entry says. @returns what is wrong with it although it holds */
  #read(name: LedgerName, stored: StoredRecord): BadRecord | null {
    const read =
      name === 'retention'
        ? readStored(stored, RETENTION.stream, RetentionEntry).map((it) => this.retention.add(it))
        : name === 'redactions'
          ? readStored(stored, REDACTION_STREAM, Redaction).map((it) => this.redactions.add(it))
          : ok()
    return read.match(
      () => null,
      (bad) => bad,
    )
  }

  /** Notes a run that may have no record that holds. */
  seeRun(runId: string): void {
    this.#lengths.set(runId, this.#lengths.get(runId) ?? 0)
  }

  /** Notes the first record of a run that does not hold. */
  seeBad(runId: string, record: BadRecord): void {
    this.seeRun(runId)
    this.findings.push({ ...record, where: `run ${runId}` })
    this.family.noteBad(runId, record.seq)
    this.seeBreak(runId)
  }

  /** Notes that the next record of a run or ledger does not hold. */
  seeBreak(id: string): void {
    for (const heads of this.#heads) heads.seeBad(id)
  }

  /** How many records of a run or ledger hold. */
  readonly lengthOf = (id: string): number => {
    const ledger = ledgerOf(id)
    return ledger === null ? (this.#lengths.get(id) ?? 0) : this.ledgers.lengthOf(ledger)
  }

  /** Runs that are here in spite of their removal. */
  #notRemoved(): Finding[] {
    const here = this.retention.removals.values().filter(({ run_id }) => this.lengthOf(run_id) > 0)
    return [...here].map(({ run_id, entry }) => {
      const message = `entry ${entry} of the ledger retention says that it was removed, and it is here. A server that starts on the log removes it`
      return finding('unexpected', `run ${run_id}`, message)
    })
  }

  report({ wanted: { anchors, kept, seen }, signers = [], ...found }: Judging): LiveReport {
    const { latest, wanted, findings: ofCheckpoints } = this.#checkpoints
    const compared = [latest, wanted].flatMap((log) => log?.checkpoint ?? [])
    const statements = kept === null ? compared : [kept, ...compared]
    const ledgers = this.ledgers.report(latest?.checkpoint.unsigned_entries)
    const family = this.family.judge()
    const redacted = this.redactions.report()
    const findings = [
      ...this.findings,
      ...ledgers.findings,
      ...this.#heads.flatMap((heads) => heads.findings(this.lengthOf, this.retention)),
      ...this.#notRemoved(),
      ...family.findings,
      ...ofCheckpoints,
      ...(seen?.findings ?? []),
    ]
    const keys = [
      ...signers,
      ...statements.map(({ key }) => key),
      ...Object.values(ledgers.seals).flatMap((seals) => seals.keys),
    ]
    const lastEntry = wanted?.heads.get(REDACTION_STREAM)?.length ?? 0
    return {
      ...found,
      holds: findings.length === 0,
      trust: trustOf(anchors, keys),
      runs: this.#lengths.size,
      records: this.#lengths.values().reduce((sum, length) => sum + length, 0),
      ledgers: ledgers.lengths,
      removed: [...this.retention.removals.values()],
      ...(seen && { witnessed: seen.seen }),
      redacted,
      redacted_since: wanted && redacted.redactions.filter(({ entry }) => entry >= lastEntry),
      seals: ledgers.seals,
      family: family.report,
      checkpoints: compared.map(({ number }) => number),
      findings,
    }
  }
}
