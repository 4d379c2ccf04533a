import { err, ok, type Result } from 'neverthrow'
import type { Logger } from '../lib/logger.ts'
import type { LoggedRecord } from '../log/codec.ts'
import { foldLogged, type LoadError, type LoadedRun, readRecords } from '../log/run-log.ts'
import type { Forget } from '../redaction/redactor.ts'
import type { EventStore, StoreFailure } from '../store/event-store.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

/** Records that are read and folded at once. */
const PAGE = 250

type Deps = {
  /** With redactions. */
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly log: Logger
}

/**
 * Folds the redacted runs again, each up to the record that it is projected to, and replaces what was
 * projected of them. What was rebuilt after an earlier redaction is
 * remembered, so that nothing is done at a start after which nothing was redacted.
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

/** Runs as of what is projected of them now; those of which nothing is are left out. */
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

/** Null for a run that cannot be read to there any more: it is left as it is. */
async function foldUpTo(
  { store, log }: Deps,
  runId: string,
  last: number,
  from: LoadedRun | null,
): Promise<LoadedRun | null> {
  let run = from
  while (run === null || run.state.seq < last) {
    const next: number = run === null ? 0 : run.state.seq + 1
    const limit = Math.min(PAGE, last - next + 1)
    const page = await readRecords(store, runId, next, limit)
    const folded = page.andThen((records) => foldAll(runId, run, records))
    if (folded.isErr() && isOfStore(folded.error)) throw new Error(folded.error.message)
    if (folded.isErr() || folded.value === run) {
      log.error({ run_id: runId, next }, 'a run cannot be rebuilt after a redaction')
      return null
    }
    run = folded.value
  }
  return run
}

function foldAll(
  runId: string,
  from: LoadedRun | null,
  records: readonly LoggedRecord[],
): Result<LoadedRun | null, LoadError> {
  let run = from
  for (const logged of records) {
    const folded = foldLogged(runId, run, logged)
    if (folded.isErr()) return err(folded.error)
    run = folded.value
  }
  return ok(run)
}

const isOfStore = (error: LoadError): error is StoreFailure =>
  error.type === 'store_unavailable' || error.type === 'store_failed'
