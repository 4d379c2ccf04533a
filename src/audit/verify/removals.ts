import type { RunHead } from '../../api/audit.ts'
import type { RunRemoval } from '../../api/retention.ts'
import { RETENTION, RetentionEntry, RetentionIndex } from '../../retention/ledger.ts'
import type { Finding } from './report.ts'
import { readStored, type StoredRecord } from './verify-run.ts'

/** What the ledger of retention says of runs that are not here any more. */
export class Removals {
  readonly #index = new RetentionIndex()

  /** Takes the next entry of the ledger, which holds. @returns what is wrong with it in spite of that */
  take(stored: StoredRecord): Finding | null {
    const entry = readStored(stored, RETENTION.stream, RetentionEntry)
    if (entry.isOk()) this.#index.add(entry.value)
    return entry.isOk() ? null : { ...entry.error, where: 'ledger retention' }
  }

  get(runId: string): RunRemoval | undefined {
    return this.#index.removals.get(runId)
  }

  get all(): readonly RunRemoval[] {
    return [...this.#index.removals.values()]
  }

  /** @param lengthOf how many records of a run are here */
  findings(lengthOf: (runId: string) => number): Finding[] {
    return this.all.flatMap(({ run_id, entry }): Finding[] => {
      if (lengthOf(run_id) === 0) return []
      const message = `entry ${entry} of the ledger retention says that it was removed, and it is here. A server that starts on the log removes it`
      return [{ problem: 'unexpected', where: `run ${run_id}`, seq: null, message }]
    })
  }
}

/**
 * What is wrong if a run was removed, and a checkpoint names it; null if nothing is.
 * @param covered how many entries of the ledger the checkpoint covers: it names the run as the last of these does
 */
export function removalProblem(
  removal: RunRemoval,
  { length, head }: RunHead,
  covered: number,
): string | null {
  const isSame = removal.length === length && removal.head === head
  const isEarlier = removal.entry >= covered && length < removal.length
  if (isSame || isEarlier) return null
  return `it had ${length} records and the hash ${head} there, and entry ${removal.entry} of the ledger retention says that a run of ${removal.length} with the hash ${removal.head} was removed`
}
