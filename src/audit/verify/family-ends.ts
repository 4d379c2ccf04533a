import { sumUsd } from '../../domain/evolve-calls.ts'
import type { RunState } from '../../domain/state.ts'
import { subagentOf } from '../../domain/subagent-state.ts'
import type { SubagentEnd } from '../../domain/subagents.ts'
import type { LoadedRun } from '../../log/run-log.ts'

/** Why two records are not compared, or what is wrong with one of them: as parts of sentences. */
export type Judgement =
  | { readonly missing: string }
  | { readonly wrong: string }
  | { readonly skipped: string }

/** What a run says of the end of its sub-agent, and the sub-agent's run up to the named record, if that was read. */
export type EndClaim = { readonly end: SubagentEnd; readonly at: LoadedRun | null }

type StateOf = (runId: string) => RunState | null

/** @param last the run of the sub-agent up to its last record */
export function judgeEnd(
  { end, at }: EndClaim,
  last: LoadedRun,
  stateOf: StateOf,
): Judgement | null {
  const source = `run ${end.run_id}`
  const run = last.state.seq === end.seq ? last : at
  if (run === null) {
    return last.state.seq < end.seq
      ? { wrong: `it names record ${end.seq} of ${source}, whose last record is ${last.state.seq}` }
      : { skipped: `record ${end.seq} of ${source}, which it names, was not read again` }
  }
  if (run.head !== end.hash) {
    return {
      wrong: `it names the hash ${end.hash} of record ${end.seq} of ${source}, which has ${run.head}`,
    }
  }
  const { state } = run
  const status = state.phase.type === 'ended' ? state.phase.status : 'running'
  const says = (what: string, named: unknown, actual: unknown): Judgement => {
    return {
      wrong: `it names ${what} ${named} of ${source}, and that run ${actual} at record ${end.seq}`,
    }
  }
  if (status !== end.status) return says('the status', end.status, status)
  if (state.waitedSeconds !== end.waited_seconds) {
    return says('the seconds with people', end.waited_seconds, state.waitedSeconds)
  }
  const below = subagentOf(state)
  const least = state.total
  const most = below === null ? least : plus(least, mostOf(below.run_id, stateOf))
  if (end.tokens < least.tokens || end.tokens > most.tokens) {
    return says('the tokens', end.tokens, least.tokens)
  }
  return isBetween(end.cost_usd, least.costUsd, most.costUsd, below !== null)
    ? null
    : says('the price', end.cost_usd, least.costUsd)
}

type Used = RunState['total']

const UNKNOWN: Used = { tokens: Number.POSITIVE_INFINITY, costUsd: Number.POSITIVE_INFINITY }

const plus = (a: Used, b: Used): Used => {
  return { tokens: a.tokens + b.tokens, costUsd: sumUsd(a.costUsd, b.costUsd) }
}

/** Records that were forged can name each other in a circle. */
const MAX_DEPTH = 100

/**
 * The most that a run can have used at any time before now, with the sub-agents that it does not count or may count in
 * part. A parent that is aborted counts what the sub-agents of its sub-agent have used by then.
 */
function mostOf(runId: string, stateOf: StateOf, depth = 0): Used {
  const state = stateOf(runId)
  if (state === null || depth > MAX_DEPTH) return UNKNOWN
  const open = (state.subagents ?? []).filter(({ end }) => end === null || end.status === 'running')
  return open.reduce(
    (sum, { run_id }) => plus(sum, mostOf(run_id, stateOf, depth + 1)),
    state.total,
  )
}

/** @param hasBelow whether the price may hold that of other runs, which may be unknown */
function isBetween(
  named: number | null,
  least: number | null,
  most: number | null,
  hasBelow: boolean,
): boolean {
  if (named === null || least === null) return named === least || (hasBelow && named === null)
  return named >= least && (most === null || named <= most)
}
