import type { RunHead } from '../../api/audit.ts'
import type { Finding } from '../verify/report.ts'
import { subjectOf } from './run-heads.ts'

/** Compares runs and ledgers, record by record, with what a checkpoint says of them. */
export class KeptHeads {
  readonly #heads: ReadonlyMap<string, RunHead>
  /** Where the heads are from, as people are told. */
  readonly #source: string
  readonly #met = new Set<string>()
  readonly #findings: Finding[] = []

  constructor(heads: ReadonlyMap<string, RunHead>, source: string) {
    this.#heads = heads
    this.#source = source
  }

  /** Takes note of a record that holds. @param id as of `RunHead` */
  see(id: string, seq: number, hash: string): void {
    const kept = this.#heads.get(id)
    if (kept?.length !== seq + 1) return
    this.#met.add(id)
    if (hash === kept.head) return
    const message = `its hash is ${hash}, and ${kept.head} in ${this.#source}: all of it was written anew`
    this.#findings.push({ problem: 'changed', where: subjectOf(id), seq, message })
  }

  /** What does not fit, once all runs were seen. @param lengthOf how many records hold; 0 for no run */
  findings(lengthOf: (runId: string) => number): Finding[] {
    const missing = [...this.#heads.values()].filter(({ run_id }) => !this.#met.has(run_id))
    return [
      ...this.#findings,
      ...missing.map(({ run_id, length }): Finding => {
        const seq = lengthOf(run_id)
        const has = seq === 0 ? 'and there is none now' : `and it has ${seq}`
        const message = `it had ${length} records in ${this.#source}, ${has}: ${seq === 0 ? 'it was dropped' : 'its end was cut off'}`
        return { problem: 'missing', where: subjectOf(run_id), seq, message }
      }),
    ]
  }
}
