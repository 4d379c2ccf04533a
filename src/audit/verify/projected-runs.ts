import type { LoadedRun } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import type { Finding } from './report.ts'

/** What a read model says of one run. */
export type ProjectedRun = {
  readonly seq: number
  /** Of all that it says of the run, as `digestOf` makes it. */
  readonly digest: string
}

/** What a read model says of a log. */
export type Projected = {
  readonly runs: ReadonlyMap<string, ProjectedRun>
  /** The last event that it speaks of; null for none. */
  readonly last: Pick<RecordedEvent, 'id' | 'stream' | 'revision' | 'position'> | null
  /** What a read model has to say of a run, as a digest. */
  digestOf(run: LoadedRun): string
}

/** What findings about the read model name as their place. */
export const READ_MODEL = 'read model'

/** Compares what a read model says with the log, as that is read in order. */
export class ProjectedCheck {
  readonly #projected: Projected
  readonly #findings: Finding[] = []
  readonly #met = new Set<string>()
  #reached: boolean

  constructor(projected: Projected) {
    this.#projected = projected
    this.#reached = projected.last === null
  }

  /** Takes note of a run as of a record that holds. */
  see(run: LoadedRun): void {
    const { runId, seq } = run.state
    const known = this.#projected.runs.get(runId)
    if (known?.seq !== seq) return
    this.#met.add(runId)
    if (known.digest === this.#projected.digestOf(run)) return
    this.#add(
      'changed',
      `what it says of run ${runId} is not what the log says up to record ${seq}`,
    )
  }

  /** Takes note of an event that was read. @param runs all runs as of it, those that are bad left out */
  reach(event: RecordedEvent, runs: () => Iterable<LoadedRun>): void {
    const { last } = this.#projected
    if (this.#reached || last === null || event.id !== last.id) return
    const { stream, revision, position } = last
    const here = event.stream === stream && event.revision === revision
    this.#reached = here && event.position === position
    for (const { state } of runs()) {
      const known = this.#projected.runs.get(state.runId)
      if (known === undefined) this.#add('missing', `it does not have run ${state.runId}`)
      else if (known.seq < state.seq) {
        const message = `it has run ${state.runId} only up to record ${known.seq} of ${state.seq}`
        this.#add('missing', message)
      }
    }
  }

  /** @param isBad whether the log itself does not hold for a run, which is told of elsewhere */
  findings(isBad: (runId: string) => boolean): Finding[] {
    if (!this.#reached)
      this.#add('changed', 'the log does not have the last record that it speaks of')
    for (const [runId, { seq }] of this.#projected.runs) {
      if (this.#met.has(runId) || isBad(runId)) continue
      this.#add('added', `the log has no record ${seq} of run ${runId}, of which it speaks`)
    }
    return this.#findings
  }

  #add(problem: Finding['problem'], message: string): void {
    this.#findings.push({ problem, where: READ_MODEL, seq: null, message })
  }
}
