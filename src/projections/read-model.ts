import { present } from '../domain/present.ts'
import {
  type ModelWait,
  modelWait,
  type RunState,
  type RunStatus,
  statusOf,
} from '../domain/state.ts'
import type { LoadedRun } from '../log/run-log.ts'

/** A run in a list. */
type RunRow = {
  readonly run_id: string
  readonly goal: string
  readonly status: RunStatus
  /** ISO 8601 in UTC with milliseconds. */
  readonly created_at: string
  /** The run whose agent started it, if there is one. */
  readonly parent_run_id?: string
  /** Set while it waits for a model that is away. */
  readonly waiting_for?: NonNullable<ReturnType<typeof waitRow>>
}

export const runRow = (state: RunState): RunRow => ({
  run_id: state.runId,
  goal: state.config.goal,
  status: statusOf(state),
  created_at: timestamp(state.createdAt),
  ...(state.parent === undefined ? {} : { parent_run_id: state.parent.run_id }),
  ...present({ waiting_for: waitRow(modelWait(state)) }),
})

/** What a run waits for, as clients read it. */
export const waitRow = (wait: ModelWait | null) =>
  wait === null
    ? undefined
    : { what: wait.what, since: timestamp(wait.since), next_try: timestamp(wait.nextTry) }

/** The columns of a run in the table of runs, without its state. */
export const runColumns = ({ state, head }: LoadedRun) => ({
  ...runRow(state),
  parent_run_id: state.parent?.run_id ?? null,
  seq: state.seq,
  head,
})

/** ISO 8601 in UTC with milliseconds. @param ts seconds since the epoch */
export const timestamp = (ts: number): string => new Date(Math.round(ts * 1000)).toISOString()

/** What else a list shows of a run. All but the first can change. */
type ListedRun = RunRow & {
  readonly cwd: string
  readonly model_name: string
  readonly iteration: number
  readonly max_iterations: number
  readonly total_tokens: number
  readonly estimated_cost_usd: number | null
  readonly ended_at: string | null
  /** Why no server works on it; only of a run that is queued. */
  readonly queued_reason?: string
}

export type RunPage = {
  readonly runs: readonly ListedRun[]
  /** Opaque cursor of the next page; null on the last. */
  readonly next: string | null
}

export type RunQuery = {
  readonly limit: number
  readonly cursor?: string | undefined
  readonly status?: RunStatus | undefined
  readonly goal?: string | undefined
  /** Only runs that the agent of this one has started. */
  readonly parent?: string | undefined
}

/** The runs as projected from the log. Reading a long run costs as much as reading a short one. */
export interface ReadModel {
  /** The run as of its last projected record; null if it has none. */
  get(runId: string): LoadedRun | null
  /** Newest first. Null for a cursor that this read model did not make. */
  list(query: RunQuery): RunPage | null
  /** Resolves to true once the record `seq` of the run is projected, to false after `timeoutMs`. */
  waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean>
  /** Whether the whole log has been projected at least once since the start. */
  readonly caughtUp: boolean
}
