import type { Logger } from '../lib/logger.ts'
import { type LoadError, type LoadedRun, load } from '../log/run-log.ts'
import type { Forget } from '../redaction/redactor.ts'
import type { EventStore, StoreFailure } from '../store/event-store.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

type Deps = {
  /** With redactions. */
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly log: Logger
}

/**
 * Folds the redacted runs again, each up to its last projected record, and replaces them in the read model. The read
 * model remembers the last redaction that it was rebuilt for, so a start without a new one has nothing to do.
 */
export function forgetRedacted(deps: Deps): Forget {
  return async (redactions) => {
    const { readModel } = deps
    const missing = redactions.filter(({ seq }) => seq > readModel.redaction)
    const last = missing.at(-1)
    if (last === undefined) return
    const runIds = new Set(missing.map(({ record }) => record.payload.run_id))
    let runs = await refolded(deps, runIds, [])
    while (!runs.every((run) => isAsProjected(readModel, run))) {
      runs = await refolded(deps, runIds, runs)
    }
    readModel.replace(runs, last.seq)
  }
}

const isAsProjected = (readModel: SqliteReadModel, { state }: LoadedRun): boolean =>
  readModel.get(state.runId)?.state.seq === state.seq

/** The runs as of their last projected records, without those that are not projected. */
async function refolded(
  deps: Deps,
  runIds: ReadonlySet<string>,
  before: readonly LoadedRun[],
): Promise<LoadedRun[]> {
  const runs: LoadedRun[] = []
  for (const runId of runIds) {
    const last = deps.readModel.get(runId)?.state.seq
    if (last === undefined) continue
    const known = before.find(({ state }) => state.runId === runId && state.seq <= last)
    const run = await foldUpTo(deps, runId, last, known ?? null)
    if (run !== null) runs.push(run)
  }
  return runs
}

/** Null if the run can no longer be read up to `last`: then it stays as it is. */
async function foldUpTo(
  { store, log }: Deps,
  runId: string,
  last: number,
  from: LoadedRun | null,
): Promise<LoadedRun | null> {
  const run = await load(store, runId, { from, to: last })
  if (run.isErr() && isOfStore(run.error)) throw new Error(run.error.message)
  if (run.isOk() && run.value?.state.seq === last) return run.value
  const problem = run.isErr() ? { error: run.error } : {}
  log.error({ run_id: runId, ...problem }, 'a run cannot be rebuilt after a redaction')
  return null
}

const isOfStore = (error: LoadError): error is StoreFailure =>
  error.type === 'store_unavailable' || error.type === 'store_failed'
