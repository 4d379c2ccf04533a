import { randomBytes } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { BrokenInvariant } from '../domain/errors.ts'
import { evolve } from '../domain/evolve.ts'
import type { RunRecord } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import type { AppendError, EventStore, NewEvent, ReadError } from '../store/event-store.ts'
import { GENESIS } from './chain.ts'
import { type DamagedRecord, decode, encode, type LoggedRecord } from './codec.ts'
import { SALT_BYTES } from './commitment.ts'

/** The streams of runs begin with this; what follows is the run id. */
export const RUN_STREAM_PREFIX = 'run-'
export const streamOf = (runId: string): string => `${RUN_STREAM_PREFIX}${runId}`

/** The id of the run that a stream of runs holds. */
export const runIdOf = (stream: string): string => stream.slice(RUN_STREAM_PREFIX.length)

/** A run folded up to its last known record, and that record's hash. */
export type LoadedRun = { readonly state: RunState; readonly head: string }

/** Events ready to be appended; appending the same again is the same append. */
export type PreparedAppend = {
  readonly runId: string
  readonly expected: number | 'no_stream'
  readonly events: readonly NewEvent[]
  readonly records: readonly LoggedRecord[]
  readonly after: LoadedRun
}

export type LoadError = ReadError | DamagedRecord

/** Who writes: unique per command, and the person behind it where there is one. */
export type Author = { readonly commandId: string; readonly principal?: string }

const PAGE = 1000

/** Chains, encodes and folds records behind `from`; `null` begins the stream. */
export function prepare(
  runId: string,
  from: LoadedRun | null,
  records: readonly RunRecord[],
  author: Author,
): PreparedAppend {
  const events: NewEvent[] = []
  const logged: LoggedRecord[] = []
  let after = from
  for (const record of records) {
    const seq: number = after === null ? 0 : after.state.seq + 1
    const encoded = encode(seq, record, {
      command_id: author.commandId,
      ...(author.principal === undefined ? {} : { principal: author.principal }),
      salt: randomBytes(SALT_BYTES).toString('hex'),
      prev_hash: after?.head ?? GENESIS,
    })
    events.push(encoded.event)
    logged.push(encoded.logged)
    after = {
      state: evolve(after?.state ?? null, encoded.logged.record),
      head: encoded.logged.meta.hash,
    }
  }
  if (after === null) throw new RangeError('an append holds at least one record')
  return { runId, expected: from?.state.seq ?? 'no_stream', events, records: logged, after }
}

/** Appends prepared records where they belong, and nowhere else. */
export function append(
  store: EventStore,
  prepared: PreparedAppend,
): ResultAsync<LoadedRun, AppendError> {
  const { runId, expected, events, after } = prepared
  return store.append(streamOf(runId), events, { expectedRevision: expected }).map(() => after)
}

/** One page of a run's records, from `from` (inclusive) on. */
export function readRecords(
  store: EventStore,
  runId: string,
  from: number,
  limit: number,
): ResultAsync<LoggedRecord[], LoadError> {
  return store
    .readStream(streamOf(runId), { from, direction: 'forward', limit })
    .andThen((events): Result<LoggedRecord[], LoadError> => {
      const records: LoggedRecord[] = []
      for (const event of events) {
        const decoded = decode(event)
        if (decoded.isErr()) return err(decoded.error)
        records.push(decoded.value)
      }
      return ok(records)
    })
}

/** Folds one stored record in; a record that breaks the chain or the order of a run is damage. */
export function foldLogged(
  runId: string,
  run: LoadedRun | null,
  { seq, record, meta }: LoggedRecord,
): Result<LoadedRun, DamagedRecord> {
  const damaged = (message: string): DamagedRecord => {
    return { type: 'damaged_record', stream: streamOf(runId), seq, message }
  }
  if (record.run_id !== runId) return err(damaged(`it belongs to the run ${record.run_id}`))
  const next = run === null ? 0 : run.state.seq + 1
  if (seq !== next) return err(damaged(`it stands where record ${next} is expected`))
  if (meta.prev_hash !== (run?.head ?? GENESIS)) {
    return err(damaged('its prev_hash is not the hash of the record before it'))
  }
  try {
    return ok({ state: evolve(run?.state ?? null, record), head: meta.hash })
  } catch (cause) {
    if (cause instanceof BrokenInvariant) return err(damaged(cause.message))
    throw cause
  }
}

/**
 * Folds a run's stream, going on from `from` where that is known, and shows each record that it reads
 * to `visit`. A stream that does not exist is null.
 */
export function load(
  store: EventStore,
  runId: string,
  from: LoadedRun | null = null,
  visit: (record: LoggedRecord) => void = () => {},
): ResultAsync<LoadedRun | null, LoadError> {
  const foldPages = async (): Promise<Result<LoadedRun | null, LoadError>> => {
    let run = from
    for (;;) {
      const page = await readRecords(store, runId, run === null ? 0 : run.state.seq + 1, PAGE)
      if (page.isErr()) return page.error.type === 'stream_not_found' ? ok(run) : err(page.error)
      for (const logged of page.value) {
        const folded = foldLogged(runId, run, logged)
        if (folded.isErr()) return err(folded.error)
        run = folded.value
        visit(logged)
      }
      if (page.value.length < PAGE) return ok(run)
    }
  }
  return new ResultAsync(foldPages())
}
