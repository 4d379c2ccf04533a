import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import type { RetainedRun, RetainRuns } from '../api/retention.ts'
import type { Author } from '../log/decider.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import { type ReadModel, timestamp } from '../projections/read-model.ts'
import type { TagLedger } from '../projections/tag-ledger.ts'
import type { Hold, RunRemoved } from './ledger.ts'
import { planRetention, projectOf, type Unit } from './plan.ts'
import type { Remover } from './remover.ts'
import type { Retention, RetentionError } from './retention.ts'

type Deps = {
  readonly retention: Retention
  readonly remover: Pick<Remover, 'settled'>
  readonly store: StreamReader
  readonly readModel: Pick<ReadModel, 'get' | 'list' | 'laterTags'>
  readonly tags: Pick<TagLedger, 'read'>
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
    const read = await deps.tags.read().andThen(() => retention.read())
    if (read.isErr()) return err(read.error)
    const { index } = retention
    const units = await planRetention(rules, { ...deps, index, now: now() })
    const rows: RetainedRun[] = []
    for (const unit of units) {
      const kept = unit.kept ?? (dry_run ? null : whyNotArchived(unit, archived))
      const isRemoved = kept === null && !dry_run
      const done = isRemoved ? await retention.remove(entriesOf(unit, archived), author) : ok()
      // Somebody was faster, and put a run on hold.
      const isHeld = done.isErr() && done.error.type === 'on_hold'
      if (done.isErr() && !isHeld) return err(done.error)
      const outcome = isHeld
        ? { kept: 'it is on hold', removed: false }
        : { kept, removed: isRemoved }
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
    ...{ run_id, rule: rule.name, action: rule.action, head, length: seq + 1 },
    ...(parent && { parent_run_id: parent.run_id }),
    status: phase.type === 'ended' ? phase.status : null,
    ended_at: endedAt === null ? null : timestamp(endedAt),
    project: projectOf(state),
  }
}
