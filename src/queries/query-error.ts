import type { LoadError } from '../log/run-log.ts'

/** Why a question about a run has no answer. */
export type QueryError =
  | LoadError
  | { readonly type: 'run_not_found' }
  /** The run has no record with this seq yet. */
  | { readonly type: 'record_not_found'; readonly seq: number; readonly last: number }
