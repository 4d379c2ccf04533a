import { err, ok, Result, type ResultAsync } from 'neverthrow'
import { BrokenInvariant } from '../domain/errors.ts'
import { evolve } from '../domain/evolve.ts'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import { present } from '../domain/present.ts'
import { RunRecord } from '../domain/records.ts'
import { type RunState, type RunStatus, statusAfter } from '../domain/state.ts'
import { type DamagedRecord, decode, type LoggedRecord } from './codec.ts'
import {
  emptyStream,
  type Folded,
  foldRecord,
  foldStream,
  type LoadError,
  type StreamDefinition,
} from './decider.ts'
import { type StreamReader, streamPages } from './stream-pages.ts'

export type { Author, LoadError } from './decider.ts'

/** The names of the streams of runs begin with this. The run id follows. */
export const RUN_STREAM_PREFIX = 'run-'
export const streamOf = (runId: string): string => `${RUN_STREAM_PREFIX}${runId}`

/** The id of the run that a stream of runs holds. */
export const runIdOf = (stream: string): string => stream.slice(RUN_STREAM_PREFIX.length)

const ARTIFACT_STREAM_PREFIX = `${OWN_STREAM_PREFIX}artifact-`

export const artifactStream = (sha256: string): string => `${ARTIFACT_STREAM_PREFIX}${sha256}`

/** The SHA-256 of the artifact that a stream holds; null for other streams. */
export const artifactOfStream = (stream: string): string | null =>
  stream.startsWith(ARTIFACT_STREAM_PREFIX) ? stream.slice(ARTIFACT_STREAM_PREFIX.length) : null

/** The stream of a run. Its state is null before its first record. */
export function runStream(runId: string): StreamDefinition<RunRecord, RunState | null> {
  return {
    stream: streamOf(runId),
    schema: RunRecord,
    initial: null,
    evolve: (state, { record, meta }) => {
      if (record.run_id !== runId) {
        throw new BrokenInvariant(`it belongs to the run ${record.run_id}`)
      }
      const after = evolve(state, record)
      return state === null ? { ...after, ...present({ createdBy: meta.principal }) } : after
    },
  }
}

/** A run folded up to its last known record, and that record's hash. */
export type LoadedRun = { readonly state: RunState; readonly head: string }

/** A run as its stream is folded; null is a run without records. */
export const foldedRun = (run: LoadedRun | null): Folded<RunState | null> =>
  run === null ? emptyStream({ initial: null }) : { ...run, revision: run.state.seq }

/** The reverse of `foldedRun`. */
export const loadedRun = ({ state, head }: Folded<RunState | null>): LoadedRun | null =>
  state === null ? null : { state, head }

/** One page of a run's records, from `from` (inclusive) on. */
export function readRecords(
  store: StreamReader,
  runId: string,
  from: number,
  limit: number,
): ResultAsync<LoggedRecord[], LoadError> {
  return store
    .readStream(streamOf(runId), { from, direction: 'forward', limit })
    .andThen((events): Result<LoggedRecord[], LoadError> => Result.combine(events.map(decode)))
}

/**
 * The first record of the run that a person started, of which this one is a sub-agent, or a sub-agent of one; null if a
 * record on the way is not in the log.
 */
export async function originOf(
  store: StreamReader,
  { runId, parent }: Pick<RunState, 'runId' | 'parent'>,
): Promise<Result<LoggedRecord | null, LoadError>> {
  let [id, depth] = parent === undefined ? [runId, 0] : [parent.run_id, parent.depth]
  for (;;) {
    const read = await readRecords(store, id, 0, 1)
    if (read.isErr()) return read.error.type === 'stream_not_found' ? ok(null) : err(read.error)
    const [first] = read.value
    if (first?.record.kind !== 'run_created') return ok(null)
    const { parent: above } = first.record.payload
    if (above === undefined) return ok(first)
    if (above.depth >= depth) return ok(null)
    id = above.run_id
    depth = above.depth
  }
}

/** Records that are read at once to find an earlier status: one of the nearest usually has it. */
const LOOK_BACK = 8

/**
 * The status of a run as of a record, by the log alone. Null if no record up to there has one. `stream_not_found` if the
 * record is not in the log.
 */
export async function statusAt(
  store: StreamReader,
  runId: string,
  seq: number,
): Promise<Result<RunStatus | null, LoadError>> {
  const stream = streamOf(runId)
  let isClaimed = false
  for (let from = seq; from >= 0; from -= LOOK_BACK) {
    const read = await store.readStream(stream, { from, direction: 'backward', limit: LOOK_BACK })
    if (read.isErr()) return err(read.error)
    if (read.value[0]?.revision !== from) return err({ type: 'stream_not_found', stream })
    for (const event of read.value) {
      const decoded = decode(event)
      if (decoded.isErr()) return err(decoded.error)
      const { record } = decoded.value
      const status = statusAfter(record)
      if (status === 'queued' && isClaimed) return ok('running')
      if (status !== null) return ok(status)
      isClaimed ||= record.kind === 'run_claimed'
    }
  }
  return ok(null)
}

/** A run's records in pages, as `streamPages`. */
export async function* recordPages(
  store: StreamReader,
  runId: string,
  range: { readonly after?: number; readonly to?: number } = {},
): AsyncGenerator<Result<readonly LoggedRecord[], LoadError>, void, void> {
  for await (const page of streamPages(store, streamOf(runId), range)) {
    const records: Result<readonly LoggedRecord[], LoadError> = page.andThen((events) =>
      Result.combine(events.map(decode)),
    )
    yield records
    if (records.isErr()) return
  }
}

/** Folds one stored record. A record that breaks the chain or the order of a run is damaged. */
export function foldLogged(
  runId: string,
  run: LoadedRun | null,
  logged: LoggedRecord,
): Result<LoadedRun, DamagedRecord> {
  const folded = foldRecord(runStream(runId), foldedRun(run), logged)
  if (folded.isErr()) return err(folded.error)
  const { state, head } = folded.value
  if (state === null) throw new BrokenInvariant('a record leaves a run without a state')
  return ok({ state, head })
}

/**
 * Folds a run's stream, as `foldStream` does. A run without records is null.
 * @param options.from the run as far as it is known
 */
export function load(
  store: StreamReader,
  runId: string,
  options: {
    readonly from?: LoadedRun | null
    readonly to?: number
    readonly visit?: (record: LoggedRecord, run: LoadedRun) => unknown
  } = {},
): ResultAsync<LoadedRun | null, LoadError> {
  const { from = null, visit, ...upTo } = options
  const visitRun = (record: LoggedRecord, folded: Folded<RunState | null>): unknown => {
    const run = loadedRun(folded)
    return run === null ? null : visit?.(record, run)
  }
  const rest = { ...upTo, from: foldedRun(from), visit: visitRun }
  return foldStream(store, runStream(runId), rest).map(loadedRun)
}
