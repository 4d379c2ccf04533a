import type { RunHead } from '../../api/audit.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { ledgerOf } from '../ledgers.ts'
import { canonicalJson } from '../proofs/canonical.ts'
import { leafHash } from './merkle.ts'

/** What has been projected of all runs. */
export type RunHeads = {
  /** Null for a run that is not known. */
  get(runId: string): LoadedRun | null
  /** At most `limit` runs whose ids come behind `after` (empty for the first), by their ids. */
  heads(after: string, limit: number): readonly RunHead[]
  /** The runs that are new or longer since this was last asked for; null if that is not known: look at all. */
  takeChanged(): readonly RunHead[] | null
}

/** The leaf of a run in the tree of a checkpoint. */
export const leafOf = (head: RunHead): Buffer => leafHash(canonicalJson(head))

/** How people are told of the run or the ledger. */
export function subjectOf(id: string): string {
  const ledger = ledgerOf(id)
  return ledger === null ? `run ${id}` : `ledger ${ledger}`
}

/** In the order in which they stand in the tree. */
export const sortedHeads = (heads: Iterable<RunHead>): RunHead[] =>
  [...heads].sort((a, b) => (a.run_id < b.run_id ? -1 : 1))
