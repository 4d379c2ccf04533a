import { z } from 'zod'
import type { LoadedRun } from '../store/run-log.ts'
import { canonicalJson } from './canonical.ts'
import { LEDGERS, ledgerOf, ledgerStream } from './ledgers.ts'
import { leafHash } from './merkle.ts'
import { Sha256 } from './public-keys.ts'

/**
 * How far a run had come: its number of records, and the hash of the last. A ledger is told of in the same
 * way, with the name of its stream in the place of the run id.
 */
export const RunHead = z.strictObject({
  run_id: z.union([z.uuid(), z.enum(LEDGERS.map(ledgerStream))]),
  length: z.int().positive(),
  head: Sha256,
})
export type RunHead = z.infer<typeof RunHead>

/** What has been projected of all runs. */
export type RunHeads = {
  /** Null for a run that is not known. */
  get(runId: string): LoadedRun | null
  /** At most `limit` runs whose ids come behind `after` (empty for the first), by their ids. */
  heads(after: string, limit: number): readonly RunHead[]
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
