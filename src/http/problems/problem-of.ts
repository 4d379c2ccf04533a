import { err, ok, type Result } from 'neverthrow'
import type { FieldProblem, Problem, ProblemCode } from '../../api/problems.ts'
import type { RunRemoval } from '../../api/retention.ts'
import type { AuditError } from '../../audit/audit.ts'
import type { TokenFailure } from '../../auth/auth.ts'
import type { CarryError } from '../../domain/errors.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { CommandError } from '../../log/handle-command.ts'
import type { QueryError } from '../../queries/run-history.ts'
import type { RedactError } from '../../redaction/redact-run.ts'
import type { RetentionError } from '../../retention/retention.ts'
import type { WebhookError } from '../../webhooks/webhooks.ts'

/** Why the rooms that carry a request out could not do that. */
type Failure =
  | (CommandError | CarryError | QueryError | AuditError)
  | (TokenFailure | RedactError | RetentionError | WebhookError)

/** Why a request was not carried out. */
export type Refusal = Failure | Problem

/** How a failure is reported. One whose type is the code of its problem may have the usual text. */
type Reports = {
  readonly [T in Exclude<Failure['type'], ProblemCode>]: (error: Failure & { type: T }) => Problem
} & { readonly [T in Failure['type']]?: (error: Failure & { type: T }) => Problem }

const REPORTS: Reports = {
  folder_in_use: ({ holder }) => ({
    code: 'folder_in_use',
    ...(holder !== null && {
      detail: `The run ${holder} works in that folder, in one inside it or around it. Wait for its end, or abort it.`,
    }),
  }),
  in_conflict: ({ files }) => {
    const paths = files.map(({ path }) => path).join(', ')
    const whys = [...new Set(files.map(({ why }) => why))].join(' ')
    return {
      code: 'in_conflict',
      detail: `Nothing was written, because of: ${paths}. ${whys}`,
      errors: files.map(({ path, why }) => ({ field: path, message: why })),
    }
  },
  not_carried: ({ message }) => ({ code: 'not_carried', detail: message }),
  stream_not_found: () => ({ code: 'run_not_found' }),
  record_not_found: (error) => ({
    code: 'record_not_found',
    ...('last' in error && {
      detail: `The run has no record with seq ${error.seq} yet: its last one is ${error.last}.`,
    }),
  }),
  run_ended: ({ status }) => ({
    code: 'run_ended',
    detail: `The run has ended, with status "${status}". A message to it starts a run that continues it.`,
  }),
  stale_decision: ({ open, answered }) => ({
    code: 'stale_decision',
    detail: `The decision answers the question with seq ${answered}, but the one with seq ${open} is open. Read the run and decide again.`,
  }),
  limit_reached: ({ reason, limit }) => ({
    code: 'limit_reached',
    detail: `${reason}. Raise ${limit} (PATCH /api/runs/{run_id}/config, retrai configure), and the run continues.`,
  }),
  limits_used: ({ problems }) => invalidFields(problems),
  claim_lost: () => ({ code: 'out_of_step' }),
  wrong_expected_revision: () => ({ code: 'busy' }),
  store_failed: ({ message }) => ({
    code: 'store_failed',
    detail: `The event store cannot do this: ${message}. Repair it, then try again; nothing was done.`,
  }),
  damaged_record: ({ seq, stream, message }) => ({
    code: 'damaged_record',
    detail: `Record ${seq} of ${stream} cannot be read: ${message}. The log was changed, or a newer server wrote it; nothing was done.`,
  }),
  run_removed: ({ removal }) => removedProblem(removal),
  on_hold: () => ({ code: 'busy' }),
  keyring_failed: () => ({ code: 'keys_unusable' }),
  artifact_unreachable: ({ message }) => ({
    code: 'store_unavailable',
    detail: `An artifact cannot be read now: ${message}. Try again later.`,
  }),
  not_stated: ({ why, message }) => ({ code: why, detail: message }),
  still_needed: ({ message }) => ({ code: 'still_needed', detail: message }),
  not_redactable: ({ message }) => invalidField('pointer', message),
  reason_tells: ({ message }) => invalidField('reason', message),
  url_refused: ({ message }) => invalidField('url', `url cannot be used: ${message}`),
}

/** The problem that reports a failure to a client. A problem reports itself. */
export function problemOf(error: Refusal): Problem {
  if ('code' in error) return error
  const report = REPORTS[error.type] as ((error: Failure) => Problem) | undefined
  return report?.(error) ?? { code: error.type as Failure['type'] & ProblemCode }
}

/** The problem that reports that there is no run any more. */
export function removedProblem(removal: RunRemoval) {
  const { removed_at, rule, principal, archive, action } = removal
  const what = action === 'archive' ? `archived as ${archive?.file} and removed` : 'removed'
  const detail = `The run was ${what} at ${removed_at} by the rule "${rule}" of ${principal ?? 'somebody'}.`
  return { code: 'run_removed', detail, removal } as const
}

/** The failure to read an artifact, which may be there. @param cause what was thrown */
export const unreachable = (cause: unknown) =>
  ({ type: 'artifact_unreachable', message: messageOf(cause) }) as const

/** Fields of a request that are not valid, all of them. Each message is a whole sentence for a person. */
export const invalidFields = (errors: readonly FieldProblem[]): Problem => {
  const detail = errors.map(({ message }) => message).join(' ')
  return { code: 'invalid_request', detail, errors }
}

/** What is wrong with a request. `isPassing`: nothing is, and the same request may succeed in a moment. */
export type PlanProblem = FieldProblem & { readonly isPassing?: true }

/** Why a run cannot be planned as it is asked for, or not now. */
export const planProblem = (wrong: readonly PlanProblem[]): Problem => {
  const passing = wrong.find(({ isPassing }) => isPassing)
  if (passing === undefined) return invalidFields(wrong)
  return { code: 'busy', detail: `${passing.message} Nothing was done. Try again in a moment.` }
}

/** What was found; null is reported as this problem. */
export const orProblem =
  (problem: Problem) =>
  <T>(found: T | null): Result<T, Problem> =>
    found === null ? err(problem) : ok(found)

export const invalidField = (field: string, message: string): Problem =>
  invalidFields([{ field, message }])
