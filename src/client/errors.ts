/** Why a call has no good answer. `message` is for a person. */
export type RequestError =
  /** There was no answer, so it is not known whether the server did anything. */
  | { readonly type: 'unreachable'; readonly message: string }
  /** The server said no, and did nothing. */
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

/** Thrown where a history cannot be read to its end. */
export class HistoryError extends Error {
  override readonly name = 'HistoryError'
  readonly error: RequestError
  /** seq of the last event before: reading on with this `after` goes on there. */
  readonly seq: number

  constructor(error: RequestError, seq: number) {
    super(error.message)
    this.error = error
    this.seq = seq
  }
}

/**
 * Why a watch cannot go on, however often it is tried again: `unknown_run`; `refused` (no good token,
 * a query the server does not take); `damaged_record`, which the server cannot read;
 * `not_understood`, what came is not what a retrAI server sends.
 */
export type WatchErrorType = 'unknown_run' | 'refused' | 'damaged_record' | 'not_understood'

/** Thrown by a watch that cannot go on. A lost connection is none: it is made again. */
export class WatchError extends Error {
  override readonly name = 'WatchError'
  readonly type: WatchErrorType
  /** seq of the last event before: a watch with this `after` goes on there. */
  readonly seq: number

  constructor(type: WatchErrorType, message: string, seq: number) {
    super(message)
    this.type = type
    this.seq = seq
  }
}

/** Thrown by a watch of all runs that cannot go on. A lost connection is none: it is made again. */
export class FeedError extends Error {
  override readonly name = 'FeedError'
  readonly type: Extract<WatchErrorType, 'refused' | 'not_understood'>
  /** Of the last event before, or where the watch began: a watch with this `after` goes on there. */
  readonly cursor: string | undefined

  constructor(type: FeedError['type'], message: string, cursor: string | undefined) {
    super(message)
    this.type = type
    this.cursor = cursor
  }
}
