import type { RunStatus } from '../domain/state.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { RunSummary } from '../api/runs.ts'

export type RunPage = {
  readonly runs: readonly RunSummary[]
  /** Opaque cursor of the next page; null on the last. */
  readonly next: string | null
}

export type RunQuery = {
  readonly limit: number
  readonly cursor?: string | undefined
  readonly status?: RunStatus | undefined
  readonly goal?: string | undefined
}

/** What has been projected from the log. Reading it costs the same for short and for long runs. */
export interface ReadModel {
  /** The run as of its last projected record; null if there is none. */
  get(runId: string): LoadedRun | null
  /** Newest first. Null for a cursor that this read model did not make. */
  list(query: RunQuery): RunPage | null
  /** Resolves to true once the record `seq` of the run is projected, to false after `timeoutMs`. */
  waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean>
  /** Whether all that was in the log has been projected at least once since the start. */
  readonly caughtUp: boolean
}
