/** Why a call failed. `message` is for a person. */
export type RequestError =
  /** There was no answer. The server may or may not have done what was asked. */
  | { readonly type: 'unreachable'; readonly message: string }
  /** The server refused, and did nothing. */
  | {
      readonly type: 'refused'
      /** The end of the problem's type, `urn:retrai:problem:<code>`; /docs lists them. */
      readonly code: string
      /** The HTTP status. */
      readonly status: number
      readonly message: string
      /** What is wrong with which field of the request. */
      readonly errors: readonly { readonly field: string; readonly message: string }[]
    }
  /** Something answered, but not as a retrAI server does. */
  | { readonly type: 'not_understood'; readonly status: number; readonly message: string }
  /** The signal of the call was aborted. */
  | { readonly type: 'aborted'; readonly message: string }

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

/**
 * Why a watch ends, because connecting again would not help: `unknown_run`; `refused` (the token or the query is not
 * valid); `damaged_record` (the server cannot read a record); `not_understood` (no retrAI server sends such a frame).
 */
export type WatchErrorType = 'unknown_run' | 'refused' | 'damaged_record' | 'not_understood'

/** Thrown by a watch that cannot continue. It is not thrown for a lost connection: the watch connects again. */
export class WatchError extends Error {
  override readonly name = 'WatchError'
  readonly type: WatchErrorType
  /** seq of the last event that came: a watch with it as `after` resumes there. */
  readonly seq: number

  constructor(type: WatchErrorType, message: string, seq: number) {
    super(message)
    this.type = type
    this.seq = seq
  }
}

/** Thrown by a watch of all runs that cannot continue, as `WatchError`. */
export class FeedError extends Error {
  override readonly name = 'FeedError'
  readonly type: Extract<WatchErrorType, 'refused' | 'not_understood'>
  /** The cursor of the last event that came, or the `after` of the watch. A watch with it as `after` resumes there. */
  readonly cursor: string | undefined

  constructor(type: FeedError['type'], message: string, cursor: string | undefined) {
    super(message)
    this.type = type
    this.cursor = cursor
  }
}
