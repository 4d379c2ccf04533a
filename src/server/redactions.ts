import type { Artifacts } from '../artifacts/artifacts.ts'
import { present } from '../domain/present.ts'
import type { ArtifactSource, Redactions } from '../http/deps.ts'
import type { Logger } from '../lib/logger.ts'
import type { Signing } from '../log/chain.ts'
import { type LoadError, type LoadedRun, load } from '../log/run-log.ts'
import type { SearchIndex } from '../projections/search/search-index.ts'
import type { SqliteReadModel } from '../projections/sqlite-read-model.ts'
import { holdsAny } from '../redaction/places.ts'
import { redactRun } from '../redaction/redact-run.ts'
import { removedBy } from '../redaction/redaction-index.ts'
import type { Forget, Redactor } from '../redaction/redactor.ts'
import type { EventStore, StoreFailure } from '../store/event-store.ts'

type Deps = {
  /** The log as it is stored, where redactions are recorded. */
  readonly ledger: EventStore
  /** The log without redacted text, which everything else reads. */
  readonly store: EventStore
  readonly redactor: Redactor
  readonly sign: Signing
  readonly readModel: SqliteReadModel
  readonly search: Pick<SearchIndex, 'forget'>
  readonly artifacts: ArtifactSource & Pick<Artifacts, 'put' | 'remove'>
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
}

type Rebuilding = Pick<Deps, 'store' | 'readModel' | 'log'>

/** Redactions for HTTP. Call `start` after every part that keeps texts has called `onRedacted`. */
export function createRedactions(deps: Deps): Redactions & {
  start(): void
  /** Lets every part drop what it keeps of runs that were removed. */
  forgetRuns(runIds: readonly string[]): Promise<void>
} {
  const { redactor, artifacts } = deps
  const forgetters: Parameters<Redactions['onRedacted']>[0][] = []
  const forgetAll: Forget = async (redactions) => {
    const byRun = Map.groupBy(redactions, ({ record }) => record.payload.run_id)
    await Promise.all(
      [...byRun].flatMap(([runId, ofRun]) => {
        const artifacts = new Set(ofRun.flatMap((redaction) => removedBy(redaction) ?? []))
        return forgetters.map((forget) => forget(runId, artifacts))
      }),
    )
  }
  return {
    forgetRuns: async (runIds) => {
      const none = new Set<string>()
      await Promise.all(runIds.flatMap((id) => forgetters.map((forget) => forget(id, none))))
    },
    redact: (request, author) =>
      redactRun(
        { ...deps, artifactHolds: artifactHolds(artifacts), goingOn: goingOn(deps.readModel) },
        request,
        author,
      ),
    ofRun: (runId) => redactor.index.ofRun(runId),
    packsOf: (sha256) => redactor.index.packsOf(sha256),
    isPending: (runId) => (redactor.index.ofRun(runId).at(-1)?.seq ?? -1) > redactor.hidden,
    asOfNow: (event) => redactor.apply(event),
    onRedacted: (forget) => {
      forgetters.push(forget)
    },
    start: () => {
      const { forget } = deps.search
      redactor.start([forgetRedacted(deps), forgetAll, forget, removeArtifacts(artifacts)])
    },
  }
}

/** As far as they are projected. */
const goingOn =
  (readModel: Pick<SqliteReadModel, 'list'>) =>
  (runId: string, seq: number): string[] => {
    const found: string[] = []
    let cursor: string | undefined
    do {
      const page = readModel.list({ limit: 1000, origin: runId, ...present({ cursor }) })
      const later = page?.runs.filter(({ origin }) => (origin?.seq ?? 0) >= seq) ?? []
      found.push(...later.flatMap(({ run_id }) => [run_id, ...goingOn(readModel)(run_id, 0)]))
      cursor = page?.next ?? undefined
    } while (cursor !== undefined)
    return found
  }

const removeArtifacts =
  (artifacts: Pick<Artifacts, 'remove'>): Forget =>
  async (redactions) => {
    for (const redaction of redactions) {
      const artifact = removedBy(redaction)
      if (artifact !== undefined) await artifacts.remove(artifact)
    }
  }

/** Searches artifacts. One that cannot be read now may hold the text, so it counts as holding it. */
function artifactHolds(artifacts: ArtifactSource) {
  return (sha256: string, texts: readonly string[]): Promise<boolean> =>
    searchArtifact(artifacts, sha256, texts).catch(() => true)
}

/** Also finds a text across the borders of chunks. */
async function searchArtifact(
  artifacts: ArtifactSource,
  sha256: string,
  texts: readonly string[],
): Promise<boolean> {
  const found = await artifacts.read(sha256)
  if (found === null) return false
  const longest = Math.max(...texts.map((text) => text.length))
  let rest = ''
  for await (const chunk of found.stream.setEncoding('utf8')) {
    rest = rest.slice(-longest) + String(chunk)
    if (holdsAny(rest, texts)) return true
  }
  return false
}

/**
 * Folds the redacted runs again, each up to its last projected record, and replaces them in the read model. The read
 * model remembers the last redaction that it was rebuilt for, so a start without a new one has nothing to do.
 */
function forgetRedacted(deps: Rebuilding): Forget {
  return async (redactions) => {
    const { readModel } = deps
    const missing = redactions.filter(({ seq }) => seq > readModel.redaction)
    const last = missing.at(-1)
    if (last === undefined) return
    const runIds = new Set(missing.map(({ record }) => record.payload.run_id))
    let runs = await refolded(deps, runIds)
    // The projector may have gone on meanwhile.
    while (!runs.every((run) => isAsProjected(readModel, run))) runs = await refolded(deps, runIds)
    readModel.replace(runs, last.seq)
  }
}

const isAsProjected = (readModel: SqliteReadModel, { state }: LoadedRun): boolean =>
  readModel.get(state.runId)?.state.seq === state.seq

/** The runs as of their last projected records. One that is not projected, or can no longer be read up to there, stays as it is. */
async function refolded(
  { store, readModel, log }: Rebuilding,
  runIds: ReadonlySet<string>,
): Promise<LoadedRun[]> {
  const runs: LoadedRun[] = []
  for (const runId of runIds) {
    const last = readModel.get(runId)?.state.seq
    if (last === undefined) continue
    const run = await load(store, runId, { to: last })
    if (run.isErr() && isOfStore(run.error)) throw new Error(run.error.message)
    if (run.isOk() && run.value?.state.seq === last) runs.push(run.value)
    else {
      const problem = run.isErr() ? { error: run.error } : {}
      log.error({ run_id: runId, ...problem }, 'a run cannot be rebuilt after a redaction')
    }
  }
  return runs
}

const isOfStore = (error: LoadError): error is StoreFailure =>
  error.type === 'store_unavailable' || error.type === 'store_failed'
