import type { Seen } from '../../../src/api/records.ts'
import type { RunView } from './run-view.ts'
import type { SeqRecordOf } from './seq-record.ts'

/** What ended a human check: its answer, or the end of the run, which leaves it without one. */
export type Answer = SeqRecordOf<'human_check_response'> | SeqRecordOf<'run_end'>

/** How the human check with this seq ended; null while it is open. */
export function answerTo({ rows, rowOfSeq, records }: RunView, seq: number): Answer | null {
  const row = rows[rowOfSeq[seq] ?? -1]
  if (row?.type === 'human' && row.end !== null) return row.end
  const last = records.at(-1)
  return last?.kind === 'run_end' ? last : null
}

/** The last record that the page has shown, which the log records with a person's decision. */
export function seenIn({ records }: RunView): Seen | null {
  const last = records.at(-1)
  return last?.meta === undefined ? null : { seq: last.seq, hash: last.meta.hash }
}
