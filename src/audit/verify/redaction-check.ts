import type { LoggedRecord } from '../../log/codec.ts'
import { type LoggedRedaction, REDACTIONS } from '../../redaction/redaction-ledger.ts'
import { REDACTIONS_FILE } from '../bundle/bundle-format.ts'
import type { KeptHeads } from '../checkpoints/run-heads.ts'
import type { Finding, RedactionReport, ReportedRedaction } from './report.ts'

/** The report of one run: without the redactions of other runs, which deleted an artifact that both name. */
export function ofRun(runId: string, report: RedactionReport): RedactionReport {
  return withRedactions(
    report,
    report.redactions.filter(({ run_id }) => run_id === runId),
  )
}

/** The report of several runs. */
export function combined(reports: readonly RedactionReport[]): RedactionReport {
  const sum = (of: 'strings' | 'records') => reports.reduce((total, each) => total + each[of], 0)
  const counts = { strings: sum('strings'), records: sum('records') }
  return withRedactions(
    counts,
    reports.flatMap(({ redactions }) => redactions),
  )
}

/** The redactions that come after what a kept checkpoint says of their ledger; null without one. */
export function redactedSince(
  kept: KeptHeads | null | undefined,
  { redactions }: RedactionReport,
): readonly ReportedRedaction[] | null {
  if (kept == null) return null
  const last = kept.seqOf(REDACTIONS.stream) ?? -1
  return redactions.filter(({ entry }) => entry > last)
}

function withRedactions(
  { strings, records }: Pick<RedactionReport, 'strings' | 'records'>,
  redactions: readonly ReportedRedaction[],
): RedactionReport {
  const artifacts = new Set(redactions.flatMap(({ artifact }) => artifact ?? [])).size
  return { strings, records, artifacts, redactions }
}

/** Compares the redactions that are recorded with those that were carried out. Their order does not matter. */
export class RedactionCheck {
  /** Commitments to the redacted strings, by run, seq and pointer. */
  readonly #redacted = new Map<string, { readonly place: Place; readonly commitment: string }>()
  readonly #redactions: LoggedRedaction[] = []

  /** Notes a record that holds. */
  see({ seq, record, meta }: LoggedRecord): void {
    if (!('redacted' in meta)) return
    for (const [pointer, commitment] of Object.entries(meta.redacted)) {
      const place = { runId: record.run_id, seq, pointer }
      this.#redacted.set(keyOf(place), { place, commitment })
    }
  }

  /** Notes an entry of the ledger that holds. */
  add(redaction: LoggedRedaction): void {
    this.#redactions.push(redaction)
  }

  /** The place in the ledger of the last redaction that nobody has signed; -1 if all are signed. */
  get lastUnsigned(): number {
    return this.#redactions.findLast(({ meta }) => meta.seal === undefined)?.seq ?? -1
  }

  /** The keys that signed redactions. */
  get keys(): readonly string[] {
    return this.#redactions.flatMap(({ meta }) => meta.seal?.key ?? [])
  }

  /** Whether a redaction of any run deleted this artifact. */
  hasDeleted(artifact: string): boolean {
    return this.#redactions.some(({ record }) => record.payload.artifact === artifact)
  }

  /**
   * Strings that were redacted without a recorded redaction, and recorded redactions that were not carried out.
   * @param lengthOf how many records of a run hold; later records are not compared
   */
  findings(lengthOf: (runId: string) => number): RedactionFinding[] {
    const recorded = new Map<string, Set<string>>()
    const found: RedactionFinding[] = []
    for (const { record } of this.#redactions) {
      const { run_id: runId, seq, redacted } = record.payload
      for (const [pointer, commitment] of Object.entries(redacted)) {
        const key = keyOf({ runId, seq, pointer })
        recorded.set(key, (recorded.get(key) ?? new Set()).add(commitment))
        if (seq >= lengthOf(runId) || this.#redacted.get(key)?.commitment === commitment) continue
        const message = `a redaction of ${pointer} is recorded, and the record does not have its commitment there`
        found.push({ runId, problem: 'redaction', where: REDACTIONS_FILE, seq, message })
      }
    }
    for (const [key, { place, commitment }] of this.#redacted) {
      if (recorded.get(key)?.has(commitment) === true) continue
      const message = `${place.pointer} was redacted, and no redaction of it is recorded`
      const { runId, seq } = place
      found.push({ runId, problem: 'redaction', where: null, seq, message })
    }
    return found
  }

  report(): RedactionReport {
    const places = [...this.#redacted.values()].map(({ place }) => place)
    const records = new Set(places.map(({ runId, seq }) => `${runId}/${seq}`)).size
    const counts = { strings: places.length, records }
    return withRedactions(counts, this.#redactions.map(reported))
  }
}

type Place = { readonly runId: string; readonly seq: number; readonly pointer: string }
type RedactionFinding = Pick<Finding, 'problem' | 'message'> & {
  readonly runId: string
  /** The part of an export that it is about; null for the part with the record. */
  readonly where: string | null
  readonly seq: number
}

const keyOf = ({ runId, seq, pointer }: Place): string => `${runId}/${seq}${pointer}`

/** An imported redaction is reported as it was made in the other log. */
function reported({ seq: entry, record, meta }: LoggedRedaction): ReportedRedaction {
  const { run_id, seq, redacted, artifact = null, reason, origin } = record.payload
  const { ts } = origin ?? record
  const principal = (origin ?? meta).principal ?? null
  const key = meta.seal?.key ?? null
  const pointers = Object.keys(redacted)
  return { entry, key, run_id, seq, pointers, artifact, reason, principal, ts }
}
