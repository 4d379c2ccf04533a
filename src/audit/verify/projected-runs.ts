import type { LoadedRun } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import type { Finding } from './report.ts'

/** What a read model holds of one run. */
type ProjectedRun = {
  readonly seq: number
  /** The digest of everything that it holds of the run, as `digestOf` makes it. */
  readonly digest: string
}

/** What a read model holds of a log. */
export type Projected = {
  readonly runs: ReadonlyMap<string, ProjectedRun>
  /** The last event that is projected; null before the first. */
  readonly last: Pick<RecordedEvent, 'id' | 'stream' | 'revision' | 'position'> | null
  /** The digest of what a read model should hold of a run. */
  digestOf(run: LoadedRun): string
}

/** The place that findings about the read model name. */
export const READ_MODEL = 'read model'

/** Compares a read model with the log, while the log is read in order. */
export class ProjectedCheck {
  readonly #projected: Projected
  readonly #findings: Finding[] = []
  readonly #met = new Set<string>()
  #reached: boolean

  constructor(projected: Projected) {
    this.#projected = projected
    this.#reached = projected.last === null
  }

  /** The record up to which a run is compared; null if the read model does not have the run. */
  seqOf(runId: string): number | null {
    return this.#projected.runs.get(runId)?.seq ?? null
  }

  /** Whether this is the last event that is projected. */
  isLast(event: RecordedEvent): boolean {
    return event.id === this.#projected.last?.id
  }

  /** Notes a run as of a record that holds. The record of `seqOf` must be among these. */
  see(run: LoadedRun): void {
    const { runId, seq } = run.state
    const known = this.#projected.runs.get(runId)
    if (known?.seq !== seq) return
    this.#met.add(runId)
    if (known.digest === this.#projected.digestOf(run)) return
    this.#add('changed', `it differs from the log about run ${runId} as of record ${seq}`)
  }

  /** Notes an event that was read: the last one must be noted. @param runs those that hold, as of the event */
  reach(event: RecordedEvent, runs: () => Iterable<LoadedRun>): void {
    const { last } = this.#projected
    if (this.#reached || last === null || !this.isLast(event)) return
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

  /** @param isBad whether a run does not hold in the log itself, which is reported elsewhere */
  findings(isBad: (runId: string) => boolean): Finding[] {
    if (!this.#reached) this.#add('changed', 'the log does not have the last record that it names')
    for (const [runId, { seq }] of this.#projected.runs) {
      if (this.#met.has(runId) || isBad(runId)) continue
      this.#add('added', `it names record ${seq} of run ${runId}, which the log does not have`)
    }
    return this.#findings
  }

  #add(problem: Finding['problem'], message: string): void {
    this.#findings.push({ problem, where: READ_MODEL, seq: null, message })
  }
}
