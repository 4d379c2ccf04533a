import type { RunHead } from '../../api/audit.ts'
import type { RunRemoval } from '../../api/retention.ts'
import { RETENTION, type RetentionIndex } from '../../retention/ledger.ts'
import { subjectOf } from '../ledgers.ts'
import { type Finding, finding } from './report.ts'

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
    const message = `its hash is not ${kept.head}, as in ${this.#source}: all of it was rewritten`
    this.#findings.push(finding('changed', subjectOf(id), message, seq))
  }

  /** Notes that a record does not hold. Nobody knows what comes after it, so that counts as neither there nor cut off. */
  seeBad(id: string): void {
    this.#met.add(id)
  }

  /**
   * What does not fit, after all runs were seen.
   * @param lengthOf how many records of a run or ledger hold; 0 if it does not exist
   */
  findings(lengthOf: (id: string) => number, { removals }: RetentionIndex): readonly Finding[] {
    const covered = this.#heads.get(RETENTION.stream)?.length ?? 0
    const missing = [...this.#heads.values()].filter(({ run_id }) => !this.#met.has(run_id))
    const ofMissing = missing.flatMap((head): Finding[] => {
      const { run_id, length } = head
      const seq = lengthOf(run_id)
      const removal = seq === 0 ? removals.get(run_id) : undefined
      if (removal !== undefined) return removalFindings(removal, head, covered)
      const now =
        seq === 0 ? 'does not exist now: it was dropped' : `has ${seq}: its end was cut off`
      const message = `it had ${length} records in ${this.#source}, and ${now}`
      return [finding('missing', subjectOf(run_id), message, seq)]
    })
    return [...this.#findings, ...ofMissing]
  }
}

/**
 * What is wrong if a run was removed, and a checkpoint names it.
 * @param covered how many entries of the ledger the checkpoint covers: it names the run as the last of these does
 */
function removalFindings(
  removal: RunRemoval,
  { run_id, length, head }: RunHead,
  covered: number,
): Finding[] {
  const isSame = removal.length === length && removal.head === head
  const isEarlier = removal.entry >= covered && length < removal.length
  if (isSame || isEarlier) return []
  const message = `it had ${length} records and the hash ${head} there, and entry ${removal.entry} of the ledger retention says that a run of ${removal.length} with the hash ${removal.head} was removed`
  return [finding('changed', subjectOf(run_id), message)]
}
