import { type Checkpoint, type LedgerName, ledgerStream, type RunHead } from '../../api/audit.ts'
import type { RunRemoval } from '../../api/retention.ts'
import { REDACTION_STREAM } from '../../redaction/redaction.ts'
import { RETENTION } from '../../retention/ledger.ts'
import {
  type LedgerSeals,
  LedgersCheck,
  ledgerOf,
  subjectOf,
  type VerifiedLedger,
} from '../ledgers.ts'
import { type KnownKeys, type Trust, type TrustAnchors, trustOf } from '../public-keys.ts'
import { FamilyCheck } from './family-check.ts'
import { RedactionCheck } from './redaction-check.ts'
import { Removals, removalProblem } from './removals.ts'
import type {
  FamilyReport,
  Finding,
  RedactionReport,
  ReportedRedaction,
  SeenCheckpoint,
} from './report.ts'
import type { VerifiedCheckpoints } from './verify-checkpoints.ts'
import type { BadRecord, StoredRecord, VerifiedRecord } from './verify-run.ts'

/** A key that has signed checkpoints; `own` if it belongs to the server that is verified. */
type CheckpointSigner = {
  readonly key: string
  readonly own: boolean
  readonly checkpoints: number
}

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
  /** The keys that signed the checkpoints of the log. */
  readonly signers: readonly CheckpointSigner[]
  /** How many runs of the read model were compared with the log; null if none were. */
  readonly read_model: number | null
  readonly findings: readonly Finding[]
}

/** Whom the reader trusts, and what else the report names. */
type Judging = Pick<LiveReport, 'artifacts' | 'read_model'> & {
  readonly anchors: TrustAnchors
  /** The checkpoint that the reader has kept; null without one. */
  readonly kept: Checkpoint | null
  /** The keys of the server that is verified. */
  readonly own: KnownKeys
  /** Who has signed other things, such as exports. */
  readonly signers?: Iterable<string>
}

/** What is seen of all runs and ledgers, from the log of a store or from the exports of a server. */
export class LiveCheck {
  readonly removals = new Removals()
  readonly family = new FamilyCheck(true, (runId) => this.removals.get(runId) !== undefined)
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
      ...(wanted === null ? [] : [new KeptHeads(wanted.heads, 'the checkpoint that you kept')]),
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
  takeEntry(name: LedgerName, stored: StoredRecord | string): VerifiedLedger | null {
    const end = this.ledgers.take(name, stored)
    if (end === null) return null
    for (const heads of this.#heads) heads.see(ledgerStream(name), end.length - 1, end.head)
    const bad = name === 'retention' && typeof stored !== 'string' && this.removals.take(stored)
    if (bad) this.findings.push(bad)
    return end
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
  }

  /** How many records of a run or ledger hold. */
  readonly lengthOf = (id: string): number => {
    const ledger = ledgerOf(id)
    return ledger === null ? (this.#lengths.get(id) ?? 0) : this.ledgers.lengthOf(ledger)
  }

  report({ anchors, kept, own, signers = [], ...found }: Judging): LiveReport {
    const { latest, wanted, signed, findings: ofCheckpoints } = this.#checkpoints
    const compared = [latest, wanted].flatMap((log) => log?.checkpoint ?? [])
    const statements = kept === null ? compared : [kept, ...compared]
    const ledgers = this.ledgers.report(latest?.checkpoint.unsigned_entries)
    const family = this.family.judge()
    const redacted = this.redactions.report()
    const findings = [
      ...this.findings,
      ...ledgers.findings,
      ...this.#heads.flatMap((heads) => heads.findings(this.lengthOf, this.removals)),
      ...this.removals.findings(this.lengthOf),
      ...family.findings,
      ...ofCheckpoints,
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
      records: [...this.#lengths.values()].reduce((sum, length) => sum + length, 0),
      ledgers: ledgers.lengths,
      removed: this.removals.all,
      redacted,
      redacted_since: wanted && redacted.redactions.filter(({ entry }) => entry >= lastEntry),
      seals: ledgers.seals,
      family: family.report,
      checkpoints: compared.map(({ number }) => number),
      signers: [...signed].map(([key, count]) => ({ key, own: own.has(key), checkpoints: count })),
      findings,
    }
  }
}

/** Compares runs and ledgers, record by record, with what a checkpoint says of them. */
export class KeptHeads {
  readonly #heads: ReadonlyMap<string, RunHead>
  readonly #source: string
  readonly #met = new Set<string>()
  readonly #findings: Finding[] = []

  /** @param source where the heads come from, for messages */
  constructor(heads: ReadonlyMap<string, RunHead>, source: string) {
    this.#heads = heads
    this.#source = source
  }

  /** Notes a record that holds. @param id as of `RunHead` */
  see(id: string, seq: number, hash: string): void {
    const kept = this.#heads.get(id)
    if (kept?.length !== seq + 1) return
    this.#met.add(id)
    if (hash === kept.head) return
    const message = `its hash is ${hash}, and ${kept.head} in ${this.#source}: all of it was rewritten`
    this.#findings.push({ problem: 'changed', where: subjectOf(id), seq, message })
  }

  /**
   * What does not fit, after all runs were seen.
   * @param lengthOf how many records of a run or ledger hold; 0 if it does not exist
   */
  findings(lengthOf: (runId: string) => number, removals: Removals): Finding[] {
    const covered = this.#heads.get(RETENTION.stream)?.length ?? 0
    const missing = [...this.#heads.values()].filter(({ run_id }) => !this.#met.has(run_id))
    return [
      ...this.#findings,
      ...missing.flatMap((head): Finding[] => {
        const { run_id, length } = head
        const seq = lengthOf(run_id)
        const removal = removals.get(run_id)
        if (removal !== undefined && seq === 0) {
          const message = removalProblem(removal, head, covered)
          return message === null
            ? []
            : [{ problem: 'changed', where: subjectOf(run_id), seq: null, message }]
        }
        const now =
          seq === 0 ? 'does not exist now: it was dropped' : `has ${seq}: its end was cut off`
        const message = `it had ${length} records in ${this.#source}, and ${now}`
        return [{ problem: 'missing', where: subjectOf(run_id), seq, message }]
      }),
    ]
  }
}
