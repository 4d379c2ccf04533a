import * as z from 'zod'
import { RunChanges } from '../api/changes.ts'
import { RunDiff, SentConversation } from '../api/history.ts'
import type { ChangesQuery } from '../api/run-requests.ts'
import { messageOf } from '../lib/message-of.ts'
import {
  type Answered,
  type Bytes,
  type ClientLimits,
  queryOf,
  type RequestError,
  type Rest,
  runPath,
  type Signal,
} from './call.ts'
import { type AgentEvent, type ChosenKind, type Kinds, kindsText, wantedKinds } from './events.ts'
import { linesOf } from './lines.ts'
import { RunReader } from './run-reader.ts'
import type { WatchOptions } from './watch.ts'

/** Thrown if a history cannot be read to its end. */
export class HistoryError extends Error {
  override readonly name = 'HistoryError'
  readonly error: RequestError
  /** seq of the last event that was read: with it as `after`, reading resumes there. */
  readonly seq: number

  constructor(error: RequestError, seq: number) {
    super(error.message)
    this.error = error
    this.seq = seq
  }
}

/** What happened in a run, and its state at any of its records. */
export interface History extends ReturnType<typeof createHistory> {}

export const createHistory = (rest: Rest, limits: ClientLimits) => ({
  /**
   * The events of a run up to now, in order. This is the fastest way to read a long run. To continue with what
   * happens next, call `watch` with the `seq` of the last event as `after`.
   * @throws HistoryError if the history cannot be read to its end, the reason of `signal` if that aborts
   */
  events: <const S extends Kinds | undefined = undefined>(
    runId: string,
    options: HistoryOptions<S> = {},
  ) => readHistory(runId, options, { rest, limits }),
  /** What changed in the run between two records, given by their seqs, and which files the tools changed. */
  diff: (
    runId: string,
    { from, to }: { readonly from: number; readonly to: number },
    options?: Signal,
  ): Answered<RunDiff> =>
    rest.get(runPath(runId, `/diff${queryOf({ from, to })}`), RunDiff, options),
  /** What happened to the files of the project between two snapshots: by default, the first and the last. */
  changes: (runId: string, between: Between = {}, options?: Signal): Answered<RunChanges> =>
    rest.get(runPath(runId, `/changes${queryOf(between)}`), RunChanges, options),
  /** The same for `git apply --binary`, with secrets masked. */
  patch: (runId: string, between: Between = {}, options?: Signal): Answered<Bytes> => {
    const query = queryOf({ ...between, format: 'patch' })
    return rest.open(runPath(runId, `/changes${query}`), 'text/x-patch, application/json', options)
  },
  /** A file of the project, as of a record or by default as of the last snapshot, with secrets masked. */
  file: (runId: string, path: string, { at }: At = {}, options?: Signal): Answered<Bytes> => {
    const name = path.split('/').map(encodeURIComponent).join('/')
    const from = runPath(runId, `/files/${name}${queryOf({ at })}`)
    return rest.open(from, 'application/octet-stream, application/json', options)
  },
  /** What was sent to the model at a record; without `at`, what is or would be sent now. */
  conversation: (runId: string, { at }: At = {}, options?: Signal): Answered<SentConversation> =>
    rest.get(runPath(runId, `/conversation${queryOf({ at })}`), SentConversation, options),
  /** The whole output of a tool call, as a stream. The record holds a part of it and its SHA-256. */
  artifact: (runId: string, sha256: string, options?: Signal): Answered<Bytes> => {
    const path = runPath(runId, `/artifacts/${encodeURIComponent(sha256)}`)
    return rest.open(path, 'text/plain, application/json', options)
  },
})

/** The seq of a record. */
type At = { readonly at?: number | undefined }

/** The seqs of two records, and the only file that is asked for. */
type Between = Partial<Omit<z.output<typeof ChangesQuery>, 'format'>>

export type HistoryOptions<S extends Kinds | undefined = Kinds | undefined> = Pick<
  WatchOptions<S>,
  'after' | 'kinds' | 'meta' | 'signal'
>

type Deps = {
  readonly rest: Pick<Rest, 'open' | 'get'>
  readonly limits: Pick<ClientLimits, 'silenceMs' | 'answerBytes'>
}

/** The events of a run up to now. @throws HistoryError, or the reason of the signal */
async function* readHistory<const S extends Kinds | undefined>(
  runId: string,
  { after = -1, kinds, meta, signal }: HistoryOptions<S>,
  { rest, limits }: Deps,
): AsyncGenerator<AgentEvent<ChosenKind<S>>, void, undefined> {
  const wanted = wantedKinds(kinds)
  const fault = (what: string, seq: number): HistoryError => {
    const message = `The server sent ${what}.`
    return new HistoryError({ type: 'not_understood', status: 200, message }, seq)
  }
  const reader = new RunReader<ChosenKind<S>>({ wanted, after, fault })
  const fail = (error: RequestError): never => {
    signal?.throwIfAborted()
    throw new HistoryError(error, reader.cursor)
  }
  const query = { kinds: kindsText(wanted), meta }
  let idle = 0
  for (;;) {
    const { cursor } = reader
    const path = runPath(runId, `/events${queryOf({ ...query, after: cursor })}`)
    const body = await rest.open(path, 'application/x-ndjson', { signal })
    if (body.isErr()) {
      if (!isOfDamage(body.error)) return fail(body.error)
      // The events before a record that cannot be read come as a page.
      const page = await rest.get(path, z.array(z.unknown()), { signal })
      if (page.isErr() || page.value.length === 0) return fail(body.error)
      yield* reader.read(page.value.map((frame) => JSON.stringify(frame)))
      yield* reader.end()
      continue
    }
    let brokenBy: string | null = null
    try {
      for await (const lines of linesOf(body.value, limits)) {
        for (const event of reader.read(lines)) {
          signal?.throwIfAborted()
          yield event
        }
      }
    } catch (cause) {
      if (cause instanceof HistoryError || signal?.aborted) throw cause
      brokenBy = messageOf(cause)
    }
    yield* reader.end()
    if (brokenBy === null) return
    // A stream that breaks off does not report why. The next one reports it, or has the next events.
    idle = reader.cursor === cursor ? idle + 1 : 0
    const message = `The history breaks off: ${brokenBy}.`
    if (idle > 1) fail({ type: 'unreachable', message })
  }
}

const isOfDamage = (error: RequestError): boolean =>
  error.type === 'refused' && error.code === 'damaged_record'
