import type { LoggedRecord } from '../../log/codec.ts'
import type { LoggedRedaction } from '../../redaction/redaction-ledger.ts'
import { RECORDS, REDACTIONS_FILE } from '../bundle/bundle-format.ts'
import type { Finding, RedactionReport, ReportedRedaction } from './report.ts'

/** Without the redactions of other runs, which have taken away an artifact that both name. */
export function ofRun(runId: string, report: RedactionReport): RedactionReport {
  return withRedactions(
    report,
    report.redactions.filter(({ run_id }) => run_id === runId),
  )
}

/** Of several runs. */
export function combined(reports: readonly RedactionReport[]): RedactionReport {
  const sum = (of: 'strings' | 'records') => reports.reduce((total, each) => total + each[of], 0)
  const counts = { strings: sum('strings'), records: sum('records') }
  return withRedactions(
    counts,
    reports.flatMap(({ redactions }) => redactions),
  )
}

function withRedactions(
  { strings, records }: Pick<RedactionReport, 'strings' | 'records'>,
  redactions: readonly ReportedRedaction[],
): RedactionReport {
  const artifacts = new Set(redactions.flatMap(({ artifact }) => artifact ?? [])).size
  return { strings, records, artifacts, redactions }
}

/** Compares what is recorded to be taken out of runs with what was. Order does not matter. */
export class RedactionCheck {
  /** Commitments of what is gone, by run, seq and pointer. */
  readonly #gone = new Map<string, { readonly place: Place; readonly commitment: string }>()
  readonly #redactions: LoggedRedaction[] = []

  /** Takes note of a record that holds. */
  see({ seq, record, meta }: LoggedRecord): void {
    if (!('redacted' in meta)) return
    for (const [pointer, commitment] of Object.entries(meta.redacted)) {
      const place = { runId: record.run_id, seq, pointer }
      this.#gone.set(keyOf(place), { place, commitment })
    }
  }

  /** Takes note of an entry of the ledger that holds. */
  add(redaction: LoggedRedaction): void {
    this.#redactions.push(redaction)
  }

  /** Whether a redaction of whichever run has taken this artifact away. */
  hasTaken(artifact: string): boolean {
    return this.#redactions.some(({ record }) => record.payload.artifact === artifact)
  }

  /**
   * What was taken out and not recorded, or the other way round.
   * @param lengthOf how many records of a run hold: what stands behind them is not spoken of
   */
  findings(lengthOf: (runId: string) => number): RedactionFinding[] {
    const recorded = new Map<string, Set<string>>()
    const found: RedactionFinding[] = []
    for (const { record } of this.#redactions) {
      const { run_id: runId, seq, redacted } = record.payload
      for (const [pointer, commitment] of Object.entries(redacted)) {
        const key = keyOf({ runId, seq, pointer })
        recorded.set(key, (recorded.get(key) ?? new Set()).add(commitment))
        if (seq >= lengthOf(runId) || this.#gone.get(key)?.commitment === commitment) continue
        const message = `${pointer} is recorded to be taken out, and what stands there is not what is left then`
        found.push({ runId, problem: 'redaction', where: REDACTIONS_FILE, seq, message })
      }
    }
    for (const [key, { place, commitment }] of this.#gone) {
      if (recorded.get(key)?.has(commitment) === true) continue
      const message = `${place.pointer} was taken out, and no redaction that is recorded says so`
      const { runId, seq } = place
      found.push({ runId, problem: 'redaction', where: RECORDS, seq, message })
    }
    return found
  }

  report(): RedactionReport {
    const places = [...this.#gone.values()].map(({ place }) => place)
    const records = new Set(places.map(({ runId, seq }) => `${runId}/${seq}`)).size
    const counts = { strings: places.length, records }
    return withRedactions(counts, this.#redactions.map(reported))
  }
}

type Place = { readonly runId: string; readonly seq: number; readonly pointer: string }
type RedactionFinding = Finding & { readonly runId: string }

const keyOf = ({ runId, seq, pointer }: Place): string => `${runId}/${seq}${pointer}`

/** One that came with an import is told of as it was done. */
function reported({ record, meta }: LoggedRedaction): ReportedRedaction {
  const { run_id, seq, redacted, artifact = null, reason, origin } = record.payload
  const { ts } = origin ?? record
  const principal = (origin ?? meta).principal ?? null
  return { run_id, seq, pointers: Object.keys(redacted), artifact, reason, principal, ts }
}
