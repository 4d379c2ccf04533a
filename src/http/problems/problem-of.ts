import type { FastifyRequest } from 'fastify'
import type { FieldProblem, Problem } from '../../api/problems.ts'
import type { RunRemoval } from '../../api/retention.ts'
import type { AuditError } from '../../audit/audit.ts'
import type { TokenFailure } from '../../auth/auth.ts'
import type { CarryError } from '../../domain/errors.ts'
import type { CommandError } from '../../log/handle-command.ts'
import type { QueryError } from '../../queries/run-history.ts'
import type { RedactError } from '../../redaction/redact-run.ts'
import type { RetentionError } from '../../retention/retention.ts'

/** The problem that reports why a command failed. */
export function commandProblem(error: CommandError | CarryError): Problem {
  switch (error.type) {
    case 'folder_in_use': {
      if (error.holder === null) return { code: 'folder_in_use' }
      const detail = `The run ${error.holder} works in that folder, in one inside it or around it. Wait for its end, or abort it.`
      return { code: 'folder_in_use', detail }
    }
    case 'in_conflict': {
      const errors = error.files.map(({ path, why }) => ({ field: path, message: why }))
      const detail = `Nothing was written, because of: ${errors.map(({ field }) => field).join(', ')}.`
      return { code: 'in_conflict', detail, errors }
    }
    case 'not_carried':
      return { code: 'not_carried', detail: error.message }
    case 'run_not_found':
    case 'stream_not_found':
      return { code: 'run_not_found' }
    case 'run_ended': {
      const detail = `The run has ended, with status "${error.status}". Start a new one.`
      return { code: 'run_ended', detail }
    }
    case 'stale_decision': {
      const { open, answered } = error
      const detail = `The decision answers the question with seq ${answered}, but the one with seq ${open} is open. Read the run and decide again.`
      return { code: 'stale_decision', detail }
    }
    case 'limit_reached': {
      const detail = `${error.reason}. Raise ${error.limit} with PATCH /api/runs/{run_id}/config, and the run continues.`
      return { code: 'limit_reached', detail }
    }
    case 'limits_used':
      return invalidFields(error.problems)
    case 'seen_otherwise': {
      const detail = `Record ${error.seq} of the run, as you were shown it, is not in the log of this server. Read the history of the run again, then decide again.`
      return { code: 'seen_otherwise', detail }
    }
    case 'claim_lost':
      return { code: 'out_of_step' }
    case 'wrong_expected_revision':
      return { code: 'busy' }
    case 'append_too_large': {
      const { bytes, limit } = error
      const detail = `This would be ${bytes} bytes in the log, and the limit is ${limit}. Shorten it.`
      return { code: 'append_too_large', detail }
    }
    case 'store_failed': {
      const detail = `The event store cannot do this: ${error.message}. Repair it, then try again; nothing was done.`
      return { code: 'store_failed', detail }
    }
    case 'damaged_record': {
      const detail = `Record ${error.seq} of ${error.stream} cannot be read: ${error.message}. The log was changed, or a newer server wrote it; nothing was done.`
      return { code: 'damaged_record', detail }
    }
    default:
      return { code: error.type }
  }
}

/** The problem that reports why a query about a run failed. */
export function queryProblem(error: QueryError): Problem {
  if (error.type !== 'record_not_found') return commandProblem(error)
  const detail = `The run has no record with seq ${error.seq} yet: its last one is ${error.last}.`
  return { code: 'record_not_found', detail }
}

/** The problem that reports that there is no run any more. */
export function removedProblem(removal: RunRemoval) {
  const { removed_at, rule, principal, archive, action } = removal
  const what = action === 'archive' ? `archived as ${archive?.file} and removed` : 'removed'
  const detail = `The run was ${what} at ${removed_at} by the rule "${rule}" of ${principal ?? 'somebody'}.`
  return { code: 'run_removed', detail, removal } as const
}

/** The problem that reports why retention did not do something. */
export function retentionProblem(error: RetentionError): Problem {
  if (error.type === 'run_removed') return removedProblem(error.removal)
  if (error.type === 'on_hold') return { code: 'busy' }
  return commandProblem(error)
}

/** The problem that reports an error to an auditor. The server also logs an error of its own. */
export const auditProblem =
  ({ log }: FastifyRequest) =>
  (error: AuditError): Problem => {
    if (error.type === 'redacted_meanwhile') return { code: error.type }
    if (error.type === 'artifact_unreachable') return artifactProblem(error.message)
    if (error.type === 'not_stated') return { code: error.why, detail: error.message }
    const problem: Problem =
      error.type === 'keyring_failed' ? { code: 'keys_unusable' } : commandProblem(error)
    if (problem.code !== 'run_not_found') log.error({ error }, 'an audit failed')
    return problem
  }

/** The problem that reports that an artifact, which may be there, cannot be read now. */
export const artifactProblem = (why: string): Problem => ({
  code: 'store_unavailable',
  detail: `An artifact cannot be read now: ${why}. Try again later.`,
})

/** The problem that reports why a token was not created or revoked. */
export function tokenProblem(error: TokenFailure): Problem {
  switch (error.type) {
    case 'token_not_found':
    case 'admin_needed':
      return { code: error.type }
    case 'name_taken': {
      const detail = `The name "${error.name}" is taken: another token has or had it, or it is reserved. Choose another one.`
      return { code: 'name_taken', detail }
    }
    default:
      return commandProblem(error)
  }
}

/** The problem that reports why a text was not redacted. */
export function redactProblem(error: RedactError): Problem {
  switch (error.type) {
    case 'record_not_found':
      return { code: 'record_not_found' }
    case 'still_needed':
      return { code: 'still_needed', detail: error.message }
    case 'not_redactable':
      return invalidField('pointer', error.message)
    case 'reason_tells':
      return invalidField('reason', error.message)
    default:
      return commandProblem(error)
  }
}

/** Fields of a request that are not valid, all of them. Each message is a whole sentence for a person. */
export const invalidFields = (errors: readonly FieldProblem[]): Problem => {
  const detail = errors.map(({ message }) => message).join(' ')
  return { code: 'invalid_request', detail, errors }
}

export const invalidField = (field: string, message: string): Problem =>
  invalidFields([{ field, message }])
