import * as z from 'zod'
import { CarriedFiles } from '../api/changes.ts'
import type { CreateRun } from '../api/create-run.ts'
import type { RunStatus } from '../api/records.ts'
import { RedactedRecord, type RedactRun } from '../api/redactions.ts'
import { HeldRun, RetainedRun, type RetainRuns } from '../api/retention.ts'
import type {
  AbortRun,
  AnswerApproval,
  ApplyRun,
  ConfigureRun,
  ListRunsQuery,
  ResumeRun,
  RollbackRun,
  SendMessage,
} from '../api/run-requests.ts'
import {
  AnsweredApproval,
  Continuation,
  RecordedMessage,
  RunAndStatus,
  RunDetails,
  RunSummary,
} from '../api/runs.ts'
import {
  type Answered,
  cursorOf,
  queryOf,
  type Repeatable,
  type Rest,
  runPath,
  type Signal,
} from './call.ts'

/** What to run. The server has defaults for the optional fields. */
export type RunRequest = CreateRun

/**
 * What the log records about a person's decision, besides the decision: the reason and, as `seen`, the last record
 * that the person saw. If the log has another record there, the server refuses the request.
 */
export type Why = NonNullable<AbortRun>

/** At most 1000; the server's default is 100. `cursor` is `next` of the previous page, of the same query. */
export type RunQuery = Omit<Partial<z.output<typeof ListRunsQuery>>, 'status'> & {
  /** Any of these. */
  readonly status?: RunStatus | readonly RunStatus[] | undefined
}

/** Runs in their order. `next` is the cursor of the next page; null on the last page. */
export type RunPage = { readonly runs: readonly RunSummary[]; readonly next: string | null }

/** How much longer a call may take that writes the files of a project. */
const FILES_MS = 4 * 60_000

const Sent = z.union([RecordedMessage, Continuation])

/** The calls of /api/runs. */
export interface Runs extends ReturnType<typeof createRuns> {}

export const createRuns = ({ call, get, send }: Rest) => ({
  /** With an idempotency key, the same request can be repeated safely: it starts only one run. */
  create: (request: RunRequest, options?: Repeatable): Answered<RunAndStatus> =>
    send('POST', '/api/runs', request, RunAndStatus, options),
  list: (query: RunQuery = {}, { signal }: Signal = {}): Answered<RunPage> =>
    call({
      method: 'GET',
      path: `/api/runs${queryOf(query)}`,
      schema: z.array(RunSummary),
      signal,
    }).map(({ value, headers }) => ({
      runs: value,
      // An empty page is the last one, whatever its Link header has: following it might never end.
      next: value.length === 0 ? null : cursorOf(headers.get('link'), 'cursor'),
    })),
  /** The run as it is now or, with `at`, as it was after the record with that seq. */
  get: (
    runId: string,
    { at, signal }: Signal & { readonly at?: number | undefined } = {},
  ): Answered<RunDetails> => get(runPath(runId, queryOf({ at })), RunDetails, { signal }),
  /** Answers a human check. With the `seq` of the check, the server refuses the answer if another check is open. */
  resume: (runId: string, answer: ResumeRun, options?: Signal): Answered<RunAndStatus> =>
    send('POST', runPath(runId, '/resume'), answer, RunAndStatus, options),
  /** Answers for the call that waits, by the `seq` of the question and the hash of the call that was shown. */
  answer: (
    runId: string,
    seq: number,
    answer: AnswerApproval,
    options?: Signal,
  ): Answered<RunAndStatus> =>
    send('POST', runPath(runId, `/approvals/${seq}`), answer, AnsweredApproval, options),
  abort: (runId: string, why: Why = {}, options?: Signal): Answered<RunAndStatus> =>
    send('POST', runPath(runId, '/abort'), why, RunAndStatus, options),
  /**
   * Says something to the agent of a run: its next request to the model holds it. If the run has ended, a run that
   * continues it is started. With an idempotency key, the same message can be sent again safely.
   */
  send: (
    runId: string,
    message: SendMessage,
    options?: Repeatable,
  ): Answered<RecordedMessage | Continuation> =>
    send('POST', runPath(runId, '/messages'), message, Sent, options),
  /** Makes the files of the project those of an earlier snapshot. One file in conflict, and nothing is written. */
  rollback: (runId: string, how: RollbackRun, options?: Signal): Answered<CarriedFiles> =>
    send('POST', runPath(runId, '/rollback'), how, CarriedFiles, { ...options, moreMs: FILES_MS }),
  /** Carries what a run did in its copy over to the project, as files, a patch or a branch. */
  apply: (runId: string, how: ApplyRun, options?: Signal): Answered<CarriedFiles> =>
    send('POST', runPath(runId, '/apply'), how, CarriedFiles, { ...options, moreMs: FILES_MS }),
  /** Removes the copy of a run that has ended. */
  discard: (runId: string, why: Why = {}, options?: Signal): Answered<RunAndStatus> =>
    send('POST', runPath(runId, '/discard'), why, RunAndStatus, options),
  /** Redacts texts of a record for ever. The pointer (RFC 6901) begins at the payload. Repeating the call is safe. */
  redact: (runId: string, what: RedactRun, options?: Signal): Answered<RedactedRecord> =>
    send('POST', runPath(runId, '/redact'), what, RedactedRecord, options),
  /** Puts a run with its sub-agents on hold: no rule removes it. */
  hold: (runId: string, reason: string, options?: Signal): Answered<HeldRun> =>
    send('PUT', runPath(runId, '/hold'), { reason }, HeldRun, options),
  /** Ends a hold. */
  release: (runId: string, why: { readonly reason?: string } = {}, options?: Signal) =>
    send('DELETE', runPath(runId, '/hold'), why, HeldRun, options),
  /** Removes the runs that rules do not keep, or lists them. */
  retain: (rules: RetainRuns, options?: Signal): Answered<readonly RetainedRun[]> =>
    send('POST', '/api/retention', rules, z.array(RetainedRun), options),
  /** Takes effect at the next step of the run. */
  configure: (runId: string, changes: ConfigureRun, options?: Signal): Answered<RunDetails> =>
    send('PATCH', runPath(runId, '/config'), changes, RunDetails, options),
})
