import type { CommandError } from '../../log/handle-command.ts'
import type { QueryError } from '../../queries/query-error.ts'
import type { Problem } from './problem.ts'

/** How each way in which a command can fail is told to a client. */
export function commandProblem(error: CommandError): Problem {
  switch (error.type) {
    case 'run_not_found':
    case 'stream_not_found':
      return { code: 'run_not_found' }
    case 'run_exists':
    case 'already_created':
    case 'key_reused':
    case 'not_awaiting_human':
    case 'out_of_step':
    case 'store_unavailable':
    case 'outcome_unknown':
      return { code: error.type }
    case 'run_ended': {
      const detail = `The run has ended, with status "${error.status}". Start a new one.`
      return { code: 'run_ended', detail }
    }
    case 'stale_decision': {
      const { open, answered } = error
      const detail = `The decision answers the human check with seq ${answered}, but the one with seq ${open} is open. Read the run and decide again.`
      return { code: 'stale_decision', detail }
    }
    case 'seen_otherwise': {
      const detail = `Record ${error.seq} of the run, as you were shown it, is not in the log of this server. Read the history of the run again, then decide anew.`
      return { code: 'seen_otherwise', detail }
    }
    case 'claim_lost':
      return { code: 'out_of_step' }
    case 'wrong_expected_revision':
      return { code: 'busy' }
    case 'append_too_large': {
      const { bytes, limit } = error
      const detail = `This would be ${bytes} bytes in the log, and ${limit} is the most. Shorten it.`
      return { code: 'append_too_large', detail }
    }
    case 'store_failed': {
      const detail = `The event store cannot do this: ${error.message}. Mend it, then try again; nothing was done.`
      return { code: 'store_failed', detail }
    }
    case 'damaged_record': {
      const detail = `Record ${error.seq} of ${error.stream} cannot be read: ${error.message}. The log was changed or was written by a newer server; nothing was done.`
      return { code: 'damaged_record', detail }
    }
  }
}

/** The problem that a client is answered with if a query about a run has failed. */
export function queryProblem(error: QueryError): Problem {
  if (error.type !== 'record_not_found') return commandProblem(error)
  const detail = `The run has no record with seq ${error.seq} yet: its last one is ${error.last}.`
  return { code: 'record_not_found', detail }
}
