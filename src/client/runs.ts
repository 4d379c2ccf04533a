import * as z from 'zod'
import type { RunStatus } from '../api/records.ts'
import type {
  AbortRun,
  ConfigureRun,
  CreateRun,
  RedactRun,
  ResumeRun,
} from '../api/run-requests.ts'
import { RedactedRecord, RunAndStatus, RunDetails, RunSummary } from '../api/runs.ts'
import {
  type Answered,
  type Caller,
  createGetter,
  cursorOf,
  queryOf,
  runPath,
  type Signal,
} from './call.ts'

/** What to run. The server has defaults for the optional fields. */
export type RunRequest = CreateRun

/**
 * What the log keeps of a person beside what they do: the reason, and with `seen` the last record that they were shown.
 * If the log has another record there, the server refuses the request.
 */
export type Why = NonNullable<AbortRun>

export type RunQuery = {
  /** At most 1000; the server's default is 100. */
  readonly limit?: number | undefined
  readonly status?: RunStatus | undefined
  readonly goal?: string | undefined
  /** `next` of the page before. */
  readonly cursor?: string | undefined
}

/** Runs, newest first; `next` is the cursor of the page behind, null on the last. */
export type RunPage = { readonly runs: readonly RunSummary[]; readonly next: string | null }

/** The calls of /api/runs. */
export type Runs = {
  /** With an idempotency key, the same request can safely be made again: it starts one run only. */
  create(
    request: RunRequest,
    options?: Signal & { readonly idempotencyKey?: string | undefined },
  ): Answered<RunAndStatus>
  list(query?: RunQuery, options?: Signal): Answered<RunPage>
  /** As it stands now, or with `at`, right behind the record with that seq. */
  get(runId: string, options?: Signal & { readonly at?: number | undefined }): Answered<RunDetails>
  /** Answers a human check. With its `seq`, the answer is refused once another check is open. */
  resume(runId: string, answer: ResumeRun, options?: Signal): Answered<RunAndStatus>
  abort(runId: string, why?: Why, options?: Signal): Answered<RunAndStatus>
  /**
   * Takes texts out of a record, for ever. The pointer (RFC 6901) begins at the payload. To make it again is
   * safe.
   */
  redact(runId: string, what: RedactRun, options?: Signal): Answered<RedactedRecord>
  /** Takes effect at the next step of the run. */
  configure(runId: string, changes: ConfigureRun, options?: Signal): Answered<RunDetails>
}

export function createRuns(call: Caller): Runs {
  return {
    create: (body, { idempotencyKey, signal } = {}) =>
      call({
        method: 'POST',
        path: '/api/runs',
        body,
        headers: idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey },
        schema: RunAndStatus,
        signal,
      }).map(({ value }) => value),

    list: (query = {}, { signal } = {}) =>
      call({
        method: 'GET',
        path: `/api/runs${queryOf(query)}`,
        schema: z.array(RunSummary),
        signal,
      }).map(({ value, headers }) => ({
        runs: value,
        // An empty page is the last, whatever it says: it would be read without end.
        next: value.length === 0 ? null : cursorOf(headers.get('link'), 'cursor'),
      })),

    get: (runId, { at, signal } = {}) =>
      createGetter(call)(runPath(runId, queryOf({ at })), RunDetails, { signal }),

    resume: (runId, body, { signal } = {}) =>
      call({
        method: 'POST',
        path: runPath(runId, '/resume'),
        body,
        schema: RunAndStatus,
        signal,
      }).map(({ value }) => value),

    abort: (runId, body = {}, { signal } = {}) =>
      call({
        method: 'POST',
        path: runPath(runId, '/abort'),
        body,
        schema: RunAndStatus,
        signal,
      }).map(({ value }) => value),

    redact: (runId, body, { signal } = {}) =>
      call({
        method: 'POST',
        path: runPath(runId, '/redact'),
        body,
        schema: RedactedRecord,
        signal,
      }).map(({ value }) => value),

    configure: (runId, body, { signal } = {}) =>
      call({
        method: 'PATCH',
        path: runPath(runId, '/config'),
        body,
        schema: RunDetails,
        signal,
      }).map(({ value }) => value),
  }
}
