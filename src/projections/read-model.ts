import { type RunState, type RunStatus, statusOf } from '../domain/state.ts'
import type { LoadedRun } from '../log/run-log.ts'

/** What a list shows of a run. */
export type RunRow = {
  readonly run_id: string
  readonly goal: string
  readonly status: RunStatus
  /** ISO 8601 in UTC with milliseconds. */
  readonly created_at: string
}

export const runRow = (state: RunState): RunRow => ({
  run_id: state.runId,
  goal: state.config.goal,
  status: statusOf(state),
  created_at: timestamp(state.createdAt),
})

/** ISO 8601 in UTC with milliseconds. @param ts seconds since the epoch */
export const timestamp = (ts: number): string => new Date(Math.round(ts * 1000)).toISOString()

export type RunPage = {
  readonly runs: readonly RunRow[]
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
