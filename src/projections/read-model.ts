import { basename } from 'node:path'
import * as z from 'zod'
import { PausedBy } from '../domain/pause.ts'
import { present } from '../domain/present.ts'
import { verdictOf } from '../domain/run-verdict.ts'
import {
  type ModelWait,
  modelWait,
  type RunSort,
  type RunState,
  type RunStatus,
  statusOf,
} from '../domain/state.ts'
import { timestamp } from '../lib/text.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { Totals } from './batch.ts'

const Paused = z.object({ by: PausedBy, reason: z.string(), seq: z.int() })

/** What a list and the details of a run have in common; the schemas of the API describe it. */
export const runRow = (state: RunState) => ({
  run_id: state.runId,
  goal: state.config.goal,
  status: statusOf(state),
  created_at: timestamp(state.createdAt),
  ...present({ parent_run_id: state.parent?.run_id, origin: state.origin }),
  ...present({ paused: pausedRow(state), waiting_for: waitRow(modelWait(state)) }),
})

/** What a run waits for, as clients read it. */
const waitRow = (wait: ModelWait | null) =>
  wait === null
    ? undefined
    : { what: wait.what, since: timestamp(wait.since), next_try: timestamp(wait.nextTry) }

const pausedRow = ({ phase }: RunState) =>
  phase.type === 'paused' ? Paused.parse(phase) : undefined

/** A run in a list. Its tags are those of its beginning. */
export type ListedRun = Readonly<ReturnType<typeof listedRun>>

export function listedRun(state: RunState) {
  const { config, total, phase, queued } = state
  const row = runRow(state)
  const isEnded = phase.type === 'ended'
  return {
    ...row,
    title: state.title ?? config.goal,
    project: basename((state.copy?.of ?? state.project)?.path ?? config.cwd),
    cwd: config.cwd,
    model_name: config.model_name,
    principal: state.createdBy ?? null,
    iteration: state.iteration,
    max_iterations: config.max_iterations,
    total_tokens: total.tokens,
    estimated_cost_usd: total.costUsd,
    tags: config.tags ?? [],
    subagents: state.subagents?.length ?? 0,
    updated_at: timestamp(state.lastAt),
    ended_at: state.endedAt === null ? null : timestamp(state.endedAt),
    verdict: isEnded ? verdictOf(state) : null,
    ...(isEnded && present({ doubt: phase.against })),
    ...(row.status === 'queued' && present({ queued_reason: queued })),
  }
}

/** The columns of a run in the table of runs, without its state. */
export function runColumns({ state, head }: LoadedRun) {
  const listed = listedRun(state)
  const { run_id, goal, status, created_at, updated_at, title, cwd } = listed
  const { project, model_name, principal, estimated_cost_usd: cost, iteration, tags } = listed
  return {
    run_id,
    created_at,
    updated_at,
    goal,
    status,
    project,
    model_name,
    principal,
    cost,
    iteration,
    tags: JSON.stringify(tags),
    text: `${title}\n${goal}\n${cwd}`.toLowerCase(),
    parent_run_id: state.parent?.run_id ?? null,
    origin_run_id: state.origin?.run_id ?? null,
    seq: state.seq,
    head,
    listed: JSON.stringify(listed),
  }
}

export type RunPage = {
  readonly runs: readonly ListedRun[]
  /** Opaque cursor of the next page; null on the last. */
  readonly next: string | null
}

/** Which runs: all that is set must hold. */
export type RunFilters = {
  /** Any of these. */
  readonly status?: readonly RunStatus[] | undefined
  readonly goal?: string | undefined
  /** Only runs that the agent of this one has started. */
  readonly parent?: string | undefined
  /** Only runs that begin from this one. */
  readonly origin?: string | undefined
  /** A part of title, goal, folder or a tag, or the beginning of the id, in any case. */
  readonly q?: string | undefined
  readonly project?: string | undefined
  readonly model?: string | undefined
  readonly principal?: string | undefined
  /** All of these. */
  readonly tag?: readonly string[] | undefined
  /** US dollars, inclusive. A run whose cost is not known has none of them. */
  readonly min_cost_usd?: number | undefined
  readonly max_cost_usd?: number | undefined
  /** When it was created, as `created_at`: from the first, inclusive, to the second, exclusive. */
  readonly from?: string | undefined
  readonly to?: string | undefined
  /** Only runs that no agent has started. */
  readonly top?: boolean | undefined
}

export type RunQuery = RunFilters & {
  readonly limit: number
  readonly cursor?: string | undefined
  /** Without it: `created`. */
  readonly sort?: RunSort | undefined
  /** Without it: `desc`. */
  readonly order?: 'asc' | 'desc' | undefined
}

/** The tags that a run was given later, since the entry of the ledger with this revision. */
export type LaterTags = { readonly tags: readonly string[]; readonly revision: number }

/** The runs as projected from the log. Reading a long run costs as much as reading a short one. */
export interface ReadModel {
  /** The run as of its last projected record; null if it has none. */
  get(runId: string): LoadedRun | null
  /** Null for a cursor that this read model did not make for this query. */
  list(query: RunQuery): RunPage | null
  /** The tags that the run was given after it began; null if it was not. */
  laterTags(runId: string): LaterTags | null
  /** Resolves to true once the record `seq` of the run is projected, to false after `timeoutMs`. */
  waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean>
  /** What all projected records amount to. A restart keeps it, and a rebuild makes the same. */
  readonly totals: Totals
  /** How many runs have each status. */
  statuses(): ReadonlyMap<string, number>
  /** Whether the whole log has been projected at least once since the start. */
  readonly caughtUp: boolean
}
