import type { EndStatus } from './records.ts'

/** Why a command was refused. Nothing was recorded. */
export type RunError =
  | { readonly type: 'run_not_found' }
  | { readonly type: 'run_exists' }
  /** The very same request, by its idempotency key, has created this run before. */
  | { readonly type: 'already_created' }
  /** The idempotency key was used for another request. */
  | { readonly type: 'key_reused' }
  | { readonly type: 'run_ended'; readonly status: EndStatus }
  | { readonly type: 'not_awaiting_human' }
  /** The decision names another human check than the one that is open. */
  | { readonly type: 'stale_decision'; readonly open: number; readonly answered: number }
  /** The log has no such record there as the person says to have seen: they were shown another run. */
  | { readonly type: 'seen_otherwise'; readonly seq: number }
  /** Another process has taken the run up since. */
  | { readonly type: 'claim_lost'; readonly claimant: string | null }
  /** The outcome does not belong to what the run is doing now. */
  | { readonly type: 'out_of_step'; readonly command: string; readonly phase: string }

/** A log that no sequence of accepted commands can have produced. Not handled: the log is damaged. */
export class BrokenInvariant extends Error {
  override readonly name = 'BrokenInvariant'
}
