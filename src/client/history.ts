import { RunDiff, SentConversation } from '../api/history.ts'
import { type Answered, type Caller, createGetter, type Opener, type Signal } from './call.ts'
import type { AgentEvent, ChosenKind, Kinds } from './events.ts'
import type { ClientLimits } from './limits.ts'
import { queryOf } from './paging.ts'
import { type HistoryOptions, readHistory } from './read-history.ts'
import { runPath } from './run-path.ts'

/** What happened in a run, and what follows from it, at any of its records. */
export type History = {
  /**
   * The events of a run up to now, in order. It is the fastest way to all of a long run; what happens from
   * there on is for `watch`, with the `seq` of the last as its `after`.
   * @throws HistoryError where it cannot be read to its end, the reason of `signal` when that aborts
   */
  events<const S extends Kinds | undefined = undefined>(
    runId: string,
    options?: HistoryOptions<S>,
  ): AsyncGenerator<AgentEvent<ChosenKind<S>>, void, undefined>
  /** What changed from one record to another, both by their seq: the run, and files that tools touched. */
  diff(
    runId: string,
    moments: { readonly from: number; readonly to: number },
    options?: Signal,
  ): Answered<RunDiff>
  /** What the model was sent at a record; without `at`, what it is or would be sent now. */
  conversation(
    runId: string,
    moment?: { readonly at?: number | undefined },
    options?: Signal,
  ): Answered<SentConversation>
  /** The whole output of a tool call, of which the record holds a part and the SHA-256, as it comes. */
  artifact(
    runId: string,
    sha256: string,
    options?: Signal,
  ): Answered<ReadableStream<Uint8Array<ArrayBuffer>>>
}

export function createHistory(call: Caller, open: Opener, limits: ClientLimits): History {
  const get = createGetter(call)
  return {
    events: (runId, options = {}) => readHistory(runId, options, { call, open, limits }),
    diff: (runId, { from, to }, options) =>
      get(runPath(runId, `/diff${queryOf({ from, to })}`), RunDiff, options),
    conversation: (runId, { at } = {}, options) =>
      get(runPath(runId, `/conversation${queryOf({ at })}`), SentConversation, options),
    artifact: (runId, sha256, { signal } = {}) =>
      open({
        path: runPath(runId, `/artifacts/${encodeURIComponent(sha256)}`),
        accept: 'text/plain, application/json',
        signal,
      }),
  }
}
