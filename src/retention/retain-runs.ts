import { basename } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import type { RetainedRun, RetainRuns, RetentionRule } from '../api/retention.ts'
import { present } from '../domain/present.ts'
import type { RunState } from '../domain/state.ts'
import { timestamp } from '../lib/text.ts'
import { decode } from '../log/codec.ts'
import type { Author } from '../log/decider.ts'
import { type LoadError, type LoadedRun, streamOf } from '../log/run-log.ts'
import { eventAt, type StreamReader, streamPages } from '../log/stream-pages.ts'
import type { AppendError } from '../store/event-store.ts'
import type { Hold, RetentionIndex, RunRemoved } from './ledger.ts'
import type { Remover } from './remover.ts'
import type { Retention, RetentionError } from './retention.ts'

/** Which runs of the list: all, those that the agent of a run has started, or those that begin from a run. */
type Relatives = { readonly parent?: string; readonly origin?: string }

/** The runs of the log, as a read model has them. */
type Runs = {
  get(runId: string): LoadedRun | null
  list(query: Relatives & { readonly limit: number; readonly cursor?: string }): {
    readonly runs: readonly { readonly run_id: string }[]
    readonly next: string | null
  } | null
}

type Tagged = ReadonlyMap<string, { readonly tags: readonly string[] }>

type Deps = {
  readonly retention: Retention
  readonly remover: Pick<Remover, 'settled'>
  readonly store: StreamReader
  readonly readModel: Runs
  /** The tags that runs were given after they began. */
  readonly tags: { read(): ResultAsync<Tagged, AppendError | LoadError> }
  /** Seconds since the epoch. */
  readonly now: () => number
}

type Asked = z.output<typeof RetainRuns>

/** The retention of a log for HTTP, and for a program that has the log for itself. */
export const createRetention = (deps: Deps) => {
  const { retention, readModel } = deps
  const { holds, removals } = retention.index
  return {
    removalOf: (runId: string) => removals.get(runId),
    /** That of the only run whose id begins with these digits, at least four. */
    removalBeginning: (digits: string) => {
      const begun = [...removals.values()].filter(({ run_id }) => run_id.startsWith(digits))
      return digits.length >= 4 && begun.length === 1 ? begun[0] : undefined
    },
    /** The hold on a run, or on one whose agent has led to it; undefined without one. */
    holdOf: (runId: string): Hold | undefined => {
      let id: string | undefined = runId
      // Records that were forged can name each other in a circle.
      for (let depth = 0; id !== undefined && depth < MAX_DEPTH; depth += 1) {
        const hold = holds.get(id)
        if (hold !== undefined || holds.size === 0) return hold
        id = readModel.get(id)?.state.parent?.run_id
      }
      return undefined
    },
    hold: (...asked: Parameters<Retention['hold']>) => retention.hold(...asked),
    release: (...asked: Parameters<Retention['release']>) => retention.release(...asked),
    retain: (asked: Asked, author: Author) => retainRuns(deps, asked, author),
  }
}

const MAX_DEPTH = 100

/** How long an answer waits until the runs are removed, milliseconds. If that takes longer, the answer does not wait. */
const PATIENCE_MS = 10_000

/**
 * Removes the runs that rules do not keep, each with its sub-agents, or only lists them. What the rules match is looked up
 * at once, so an export that is not of the present end of its run counts as none.
 */
function retainRuns(
  deps: Deps,
  { rules, dry_run, archived }: Asked,
  author: Author,
): ResultAsync<readonly RetainedRun[], RetentionError> {
  const { retention, remover, now } = deps
  const retain = async (): Promise<Result<readonly RetainedRun[], RetentionError>> => {
    const read = await deps.tags.read().andThen((tagged) => retention.work.read().map(() => tagged))
    if (read.isErr()) return err(read.error)
    const { index } = retention
    const units = await planRetention(rules, { ...deps, index, tagged: read.value, now: now() })
    const rows: RetainedRun[] = []
    for (const unit of units) {
      const needed = unit.kept ?? (await whyNeeded(unit.runs, deps))
      const kept = needed ?? (dry_run ? null : whyNotArchived(unit, archived))
      const isRemoved = kept === null && !dry_run
      const done = isRemoved ? await retention.remove(entriesOf(unit, archived), author) : ok()
      // Somebody was faster, and put a run on hold.
      const isHeld = done.isErr() && done.error.type === 'on_hold'
      if (done.isErr() && !isHeld) return err(done.error)
      const outcome = { kept: isHeld ? 'it is on hold' : kept, removed: isRemoved && !isHeld }
      rows.push(...unit.runs.map((run) => ({ ...rowOf(run, unit), ...outcome })))
    }
    if (!dry_run) await remover.settled(PATIENCE_MS)
    return ok(rows)
  }
  return new ResultAsync(retain())
}

function whyNotArchived({ rule, runs }: Unit, archived: Asked['archived']): string | null {
  if (rule.action === 'remove') return null
  const isThere = runs.every(({ state, head }) => archived[state.runId]?.head === head)
  return isThere ? null : 'there is no verified export of its last record yet'
}

const entriesOf = (
  { rule: { name, action }, runs }: Unit,
  archived: Asked['archived'],
): RunRemoved['payload'][] =>
  runs.map(({ state: { runId, seq }, head }) => {
    const { file, sha256 } = archived[runId] ?? {}
    const archive = action === 'archive' && file && sha256 && { archive: { file, sha256 } }
    return { run_id: runId, length: seq + 1, head, rule: name, action, ...archive }
  })

function rowOf({ state, head }: LoadedRun, { rule }: Unit): Omit<RetainedRun, 'kept' | 'removed'> {
  const { runId: run_id, parent, phase, endedAt, seq } = state
  return {
    run_id,
    rule: rule.name,
    action: rule.action,
    head,
    length: seq + 1,
    ...(parent && { parent_run_id: parent.run_id }),
    status: phase.type === 'ended' ? phase.status : null,
    ended_at: endedAt === null ? null : timestamp(endedAt),
    project: projectOf(state),
  }
}

type Read = Pick<Deps, 'readModel' | 'store'>

/** `now` is in seconds since the epoch. */
type PlanDeps = Read & {
  readonly tagged: Tagged
  readonly index: Pick<RetentionIndex, 'holds'>
  readonly now: number
}

/** A run with all its sub-agents and theirs, which go or stay together, and a rule that does not keep it. */
type Unit = {
  readonly rule: RetentionRule & { readonly action: 'archive' | 'remove' }
  /** The run that a person started comes first. */
  readonly runs: readonly [LoadedRun, ...LoadedRun[]]
  /** Why it stays in spite of the rule, as a part of a sentence; null if it goes. */
  readonly kept: string | null
}

/** What rules do not keep, newest first. */
async function planRetention(rules: readonly RetentionRule[], deps: PlanDeps): Promise<Unit[]> {
  const { readModel, tagged, now } = deps
  const units: Unit[] = []
  for await (const run of runsOf(readModel, {})) {
    const { parent } = run.state
    // The parent of a run that was imported may be elsewhere.
    if (parent !== undefined && readModel.get(parent.run_id) !== null) continue
    const tags = tagged.get(run.state.runId)?.tags ?? run.state.config.tags ?? []
    const rule = rules.find((each) => matches(each, run.state, { now, tags }))
    if (rule === undefined || rule.action === 'keep') continue
    const runs = [run, ...(await withSubagents(run, readModel))] as const
    const { action } = rule
    units.push({ rule: { ...rule, action }, runs, kept: await whyKept(runs, deps) })
  }
  return units
}

/** The folder of the project that a run is about. */
const projectOf = ({ copy, project, config }: RunState): string =>
  copy?.of.path ?? project?.path ?? config.cwd

const DAY_S = 86_400

type Now = Pick<PlanDeps, 'now'> & { readonly tags: readonly string[] }

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
async function* runsOf(readModel: Deps['readModel'], query: Relatives): AsyncGenerator<LoadedRun> {
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

async function whyKept(runs: readonly LoadedRun[], deps: PlanDeps): Promise<string | null> {
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
  }
  return null
}

/**
 * Why runs cannot be removed: another run, which is not over, begins from one of them, directly or not. Null if none does.
 * Such a run may begin at any moment.
 */
async function whyNeeded(runs: readonly LoadedRun[], deps: Read): Promise<string | null> {
  for (const { state: origin } of runs) {
    for await (const run of runsOf(deps.readModel, { origin: origin.runId })) {
      const isOver = run.state.phase.type === 'ended' && (await isCarried(run.state, deps))
      if (!isOver) return `run ${run.state.runId}, which begins from it, is not over`
      const later = await whyNeeded([run], deps)
      if (later !== null) return later
    }
  }
  return null
}

/** Whether an ended run has no copy that waits to be applied: a run that continues it there carries its changes, too. */
async function isCarried(state: RunState, deps: Read): Promise<boolean> {
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
