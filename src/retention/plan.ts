import { basename } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RetentionRule } from '../api/retention.ts'
import { present } from '../domain/present.ts'
import type { RunState } from '../domain/state.ts'
import { decode } from '../log/codec.ts'
import { type LoadedRun, streamOf } from '../log/run-log.ts'
import { eventAt, type StreamReader, streamPages } from '../log/stream-pages.ts'
import { type ReadModel, type RunQuery, tagsOf } from '../projections/read-model.ts'
import type { RetentionIndex } from './ledger.ts'

type Deps = {
  readonly readModel: Pick<ReadModel, 'get' | 'list' | 'laterTags'>
  readonly store: StreamReader
  readonly index: Pick<RetentionIndex, 'holds'>
  /** Seconds since the epoch. */
  readonly now: number
}

/** A run with all its sub-agents and theirs, which go or stay together, and a rule that does not keep it. */
export type Unit = {
  readonly rule: RetentionRule & { readonly action: 'archive' | 'remove' }
  /** The run that a person started comes first. */
  readonly runs: readonly [LoadedRun, ...LoadedRun[]]
  /** Why it stays in spite of the rule, as a part of a sentence; null if it goes. */
  readonly kept: string | null
}

/** What rules do not keep, newest first. */
export async function planRetention(rules: readonly RetentionRule[], deps: Deps): Promise<Unit[]> {
  const { readModel, now } = deps
  const units: Unit[] = []
  for await (const run of runsOf(readModel, {})) {
    const { parent } = run.state
    // The parent of a run that was imported may be elsewhere.
    if (parent !== undefined && readModel.get(parent.run_id) !== null) continue
    const tags = tagsOf(readModel, run.state.runId)
    const rule = rules.find((each) => matches(each, run.state, { now, tags }))
    if (rule === undefined || rule.action === 'keep') continue
    const runs = [run, ...(await withSubagents(run, readModel))] as const
    const { action } = rule
    units.push({ rule: { ...rule, action }, runs, kept: await whyKept(runs, deps) })
  }
  return units
}

/** The folder of the project that a run is about. */
export const projectOf = ({ copy, project, config }: RunState): string =>
  copy?.of.path ?? project?.path ?? config.cwd

const DAY_S = 86_400

type Now = Pick<Deps, 'now'> & { readonly tags: readonly string[] }

function matches({ match }: RetentionRule, state: RunState, { now, tags }: Now): boolean {
  const { phase, endedAt } = state
  const folder = projectOf(state)
  if (phase.type !== 'ended' || endedAt === null) return false
  return (
    (match.status ?? phase.status) === phase.status &&
    now - endedAt >= (match.older_than_days ?? 0) * DAY_S &&
    [undefined, folder, basename(folder)].includes(match.project) &&
    (match.tag === undefined || tags.includes(match.tag))
  )
}

/** Runs of a list, in its order. */
async function* runsOf(
  readModel: Deps['readModel'],
  query: Pick<RunQuery, 'parent' | 'origin'>,
): AsyncGenerator<LoadedRun> {
  let cursor: string | undefined
  do {
    const page = readModel.list({ ...query, limit: 1000, ...present({ cursor }) })
    for (const { run_id } of page?.runs ?? []) {
      const run = readModel.get(run_id)
      if (run !== null) yield run
    }
    cursor = page?.next ?? undefined
    await nextTurn()
  } while (cursor !== undefined)
}

async function withSubagents(
  { state }: LoadedRun,
  readModel: Deps['readModel'],
): Promise<LoadedRun[]> {
  const found: LoadedRun[] = []
  if (state.subagents === undefined) return found
  for await (const run of runsOf(readModel, { parent: state.runId })) {
    found.push(run, ...(await withSubagents(run, readModel)))
  }
  return found
}

async function whyKept(runs: readonly LoadedRun[], deps: Deps): Promise<string | null> {
  for (const { state, head } of runs) {
    const { runId, seq } = state
    const hold = deps.index.holds.get(runId)
    if (hold !== undefined) return `run ${runId} is on hold: ${hold.reason}`
    if (state.phase.type !== 'ended') return `its sub-agent ${runId} has not ended`
    const last = (await eventAt(deps.store, streamOf(runId), 'end')).unwrapOr(null)
    const logged = last && decode(last).unwrapOr(null)
    if (logged?.seq !== seq || logged.meta.hash !== head) {
      return `run ${runId} cannot be read to its end now`
    }
    if (!(await isCarried(state, deps))) return 'its copy is not applied'
    const needs = await whoNeeds(runId, deps)
    if (needs !== null) return `run ${needs}, which begins from it, is not over`
  }
  return null
}

/** A run that begins from this one, or from one that does, and has not ended, or has a copy that is not applied; null if there is none. */
async function whoNeeds(runId: string, deps: Deps): Promise<string | null> {
  for await (const { state } of runsOf(deps.readModel, { origin: runId })) {
    if (state.phase.type !== 'ended' || !(await isCarried(state, deps))) return state.runId
    const later = await whoNeeds(state.runId, deps)
    if (later !== null) return later
  }
  return null
}

/** Whether an ended run has no copy that waits to be applied: a run that continues it there carries its changes, too. */
async function isCarried(state: RunState, deps: Deps): Promise<boolean> {
  if (state.copy?.is !== 'made' || (await isApplied(state.runId, deps.store))) return true
  for await (const { state: next } of runsOf(deps.readModel, { origin: state.runId })) {
    const isThere = next.config.cwd === state.config.cwd
    if (isThere && next.phase.type === 'ended' && (await isCarried(next, deps))) return true
  }
  return false
}

/** Whether the changes of a run were applied after its end. */
async function isApplied(runId: string, store: StreamReader): Promise<boolean> {
  const backward = { direction: 'backward', limit: 16 } as const
  for await (const page of streamPages(store, streamOf(runId), backward)) {
    for (const event of page.unwrapOr([])) {
      if (event.type === 'run_end') return false
      const record = event.type === 'changes_applied' ? decode(event).unwrapOr(null)?.record : null
      if (record?.kind === 'changes_applied' && record.payload.as !== 'patch') return true
    }
  }
  return false
}
