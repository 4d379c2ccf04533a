import type { Limit } from './pause.ts'
import type { EndStatus } from './records.ts'

/** Why a command was refused. Nothing was recorded. */
export type RunError =
  | { readonly type: 'run_not_found' }
  | { readonly type: 'run_exists' }
  /** The same request, with the same idempotency key, has created this run before. */
  | { readonly type: 'already_created' }
  /** The idempotency key was used for another request. */
  | { readonly type: 'key_reused' }
  | { readonly type: 'run_ended'; readonly status: EndStatus }
  /** The same message, with the same idempotency key, is in the log at this seq. */
  | { readonly type: 'already_sent'; readonly seq: number }
  | { readonly type: 'not_awaiting_human' }
  /** A paused run cannot continue before this limit is raised. */
  | { readonly type: 'limit_reached'; readonly limit: Limit; readonly reason: string }
  /** New limits are not more than what the run has used. */
  | {
      readonly type: 'limits_used'
      readonly problems: readonly { readonly field: Limit; readonly message: string }[]
    }
  /** The decision answers another human check than the open one. */
  | { readonly type: 'stale_decision'; readonly open: number; readonly answered: number }
  /** The person was shown another call than the one that waits. */
  | { readonly type: 'other_call'; readonly callId: string }
  /** The rule demands somebody other than the person who started the run. */
  | { readonly type: 'starter_may_not_answer' }
  /** Only an `ask` rule of the run can be lifted, and only by allowing a call. */
  | { readonly type: 'rule_stays' }
  /** The record at this seq is not the one that the person saw: they were shown another run. */
  | { readonly type: 'seen_otherwise'; readonly seq: number }
  /** Files are carried only while no server works on the run, and a copy is removed only after its end. */
  | { readonly type: 'run_at_work' }
  /** The run does not work in a copy, or that is gone. */
  | { readonly type: 'no_copy' }
  /** Another process has claimed the run since then. */
  | { readonly type: 'claim_lost'; readonly claimant: string | null }
  /** The outcome does not belong to what the run is doing now. */
  | { readonly type: 'out_of_step'; readonly command: string; readonly phase: string }

/** Why files were not carried. Nothing was written. */
export type CarryError =
  | Extract<RunError, { type: 'run_at_work' | 'no_copy' }>
  | { readonly type: 'snapshot_not_found' }
  /** The run has no record with this seq yet. */
  | { readonly type: 'record_not_found'; readonly seq: number; readonly last: number }
  /** Another run holds the folder; null: files are being carried there. */
  | { readonly type: 'folder_in_use'; readonly holder: string | null }
  /** What is there is not what the run left, or knew. The reasons are sentences. */
  | {
      readonly type: 'in_conflict'
      readonly files: readonly { readonly path: string; readonly why: string }[]
    }
  /** A sentence. Files that were written stay: the same command continues. */
  | { readonly type: 'not_carried'; readonly message: string }

/**
 * The records contradict each other: no sequence of accepted commands can have produced them. This is not handled,
 * because the log is damaged.
 */
export class BrokenInvariant extends Error {
  override readonly name = 'BrokenInvariant'
}
