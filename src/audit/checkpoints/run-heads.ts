import type { InclusionProof, RunHead } from '../../api/audit.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { ledgerOf } from '../ledgers.ts'
import type { Finding } from '../verify/report.ts'
import type { CheckpointLog } from './checkpoint-stream.ts'
import { inclusionPath, leafHash, rootOfPath } from './merkle.ts'

/** What was projected of all runs. */
export type RunHeads = {
  /** Null if the run is not known. */
  get(runId: string): LoadedRun | null
  /** At most `limit` runs whose ids come after `after` (empty for the first), sorted by id. */
  heads(after: string, limit: number): readonly RunHead[]
  /** The runs that are new or longer since the last call; null if that is not known: look at all. */
  takeChanged(): readonly RunHead[] | null
}

/** The leaf of a run in the tree of a checkpoint. */
export const leafOf = (head: RunHead): Buffer => leafHash(canonicalText(head))

/** The name of a run or ledger in messages. */
export function subjectOf(id: string): string {
  const ledger = ledgerOf(id)
  return ledger === null ? `run ${id}` : `ledger ${ledger}`
}

/** In the order of the tree. */
export const sortedHeads = (heads: Iterable<RunHead>): RunHead[] =>
  [...heads].sort((a, b) => (a.run_id < b.run_id ? -1 : 1))

/** Null if there is no checkpoint, or the run is not in it. */
export function proveInclusion(
  { checkpoint, heads }: CheckpointLog,
  runId: string,
): InclusionProof | null {
  const leaf = heads.get(runId)
  if (checkpoint === null || leaf === undefined) return null
  const sorted = sortedHeads(heads.values())
  const index = sorted.indexOf(leaf)
  const path = inclusionPath(sorted.map(leafOf), index).map((hash) => hash.toString('hex'))
  return { checkpoint, leaf, index, path }
}

/** Whether the path leads from the leaf to the root of the checkpoint. Does not check the signature. */
export function includes({ checkpoint, leaf, index, path }: InclusionProof): boolean {
  const hashes = path.map((hash) => Buffer.from(hash, 'hex'))
  const root = rootOfPath(leafOf(leaf), { index, count: checkpoint.runs, path: hashes })
  return root?.toString('hex') === checkpoint.root
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

  /** The record of a run or ledger to compare; null if the checkpoint does not name it. @param id as of `RunHead` */
  seqOf(id: string): number | null {
    const kept = this.#heads.get(id)
    return kept === undefined ? null : kept.length - 1
  }

  /** Notes a record that holds; of each run, that of `seqOf` must be among them. @param id as of `RunHead` */
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
  findings(lengthOf: (runId: string) => number): Finding[] {
    const missing = [...this.#heads.values()].filter(({ run_id }) => !this.#met.has(run_id))
    return [
      ...this.#findings,
      ...missing.map(({ run_id, length }): Finding => {
        const seq = lengthOf(run_id)
        const now =
          seq === 0 ? 'does not exist now: it was dropped' : `has ${seq}: its end was cut off`
        const message = `it had ${length} records in ${this.#source}, and ${now}`
        return { problem: 'missing', where: subjectOf(run_id), seq, message }
      }),
    ]
  }
}
