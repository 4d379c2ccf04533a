import { err, ok, type Result } from 'neverthrow'
import { decodeAs } from '../../log/codec.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { Redaction } from '../../redaction/redaction-ledger.ts'
import type { ReadError } from '../../store/event-store.ts'
import { ledgerPages } from '../ledgers.ts'
import { eventLine } from './record-line.ts'

/** What the ledger of redactions says of a run, as `redactions.ndjson`; empty where it says nothing. */
export type RedactionsOfRun = {
  readonly lines: string
  /** What was taken out of its records. */
  readonly places: readonly string[]
  /** The artifacts that were taken away. */
  readonly taken: ReadonlySet<string>
}

/** @param artifacts those that the run names: another run may have named one that was taken from both */
export async function redactionsOf(
  store: StreamReader,
  runId: string,
  artifacts: readonly string[],
): Promise<Result<RedactionsOfRun, ReadError>> {
  const lines: string[] = []
  const places: string[] = []
  const taken = new Set<string>()
  for await (const page of ledgerPages(store, 'redactions')) {
    if (page.isErr()) return err(page.error)
    for (const event of page.value) {
      const decoded = decodeAs(Redaction, event)
      if (decoded.isErr()) continue
      const { run_id, seq, redacted, artifact } = decoded.value.record.payload
      const isNamed = artifact !== undefined && artifacts.includes(artifact)
      if (run_id !== runId && !isNamed) continue
      lines.push(`${eventLine(event)}\n`)
      if (artifact !== undefined) taken.add(artifact)
      if (run_id !== runId) continue
      places.push(...Object.keys(redacted).map((pointer) => placeOf(seq, pointer)))
    }
  }
  return ok({ lines: lines.join(''), places, taken })
}

/** A string of a run, for comparing. */
export const placeOf = (seq: number, pointer: string): string => `${seq}${pointer}`
