import type { ResultAsync } from 'neverthrow'

/** Place of an event in its stream: 0, 1, 2 … without gaps. */
export type Revision = number
/** Opaque place of an event in the whole log; later events have other positions, never compare them. */
export type Position = string

/**
 * An event to append. `data` and `metadata` are JSON text as `JSON.stringify` writes it: a store keeps and
 * never interprets them.
 */
export type NewEvent = {
  /** Lower-case UUID. The same id at the same place again is the same append. */
  readonly id: string
  readonly type: string
  readonly data: string
  readonly metadata: string
}

export type RecordedEvent = NewEvent & {
  readonly stream: string
  readonly revision: Revision
  readonly position: Position
  /** When the store took it, milliseconds since the epoch. */
  readonly created: number
  /**
   * The stored text of its data or metadata is not what `JSON.stringify` writes for what it holds, so it was
   * not appended like this. Two readers of such text may see two records: it is read as none.
   */
  readonly altered?: true
}

/** What a stream must look like for an append to be made. A number is the exact last revision. */
export type ExpectedRevision = Revision | 'no_stream' | 'stream_exists' | 'any'

/** The largest append, in bytes of data and metadata: below the 1 MiB of EventStoreDB 23 and 24. */
export const MAX_APPEND_BYTES = 1_000_000
/** The largest page that a read returns. */
export const MAX_PAGE = 4096

export type StoreFailure =
  /** The store cannot be reached or is closing; nothing is known to be wrong with the request. */
  | { readonly type: 'store_unavailable'; readonly message: string }
  /** The store answered that it cannot do it: a full disk, no access, damaged data. */
  | { readonly type: 'store_failed'; readonly message: string }

export type AppendError =
  | StoreFailure
  | {
      readonly type: 'wrong_expected_revision'
      readonly expected: ExpectedRevision
      readonly actual: Revision | 'no_stream'
    }
  | { readonly type: 'append_too_large'; readonly bytes: number; readonly limit: number }
  /** No answer in time: it may or may not be stored. Append the same again to settle it. */
  | { readonly type: 'outcome_unknown'; readonly message: string }

export type ReadError =
  | StoreFailure
  | { readonly type: 'stream_not_found'; readonly stream: string }

export type Appended = {
  /** Revision of the last event of the append. */
  readonly revision: Revision
}

export type ReadOptions = {
  /** Inclusive. */
  readonly from: Revision | 'start' | 'end'
  readonly direction: 'forward' | 'backward'
  /** At most MAX_PAGE events. */
  readonly limit: number
}

/** What is to stand in the place of a stored event. */
export type Overwrite = Pick<RecordedEvent, 'stream' | 'revision' | 'id' | 'data' | 'metadata'>

export type OverwriteError =
  | StoreFailure
  /** There is no event there, or one with another id. Nothing was changed. */
  | { readonly type: 'other_event'; readonly stream: string; readonly revision: Revision }

/**
 * What a subscription delivers. `caught_up` comes once all that was stored when it is said has been
 * delivered, and again after each time the subscription fell behind or lost its store.
 */
export type SubscriptionItem =
  | { readonly type: 'events'; readonly events: readonly RecordedEvent[] }
  | { readonly type: 'caught_up' }
  /** The connection to the store was lost. The store that answers next may hold another log. */
  | { readonly type: 'interrupted' }

/** A catch-up subscription: history, then live, in order, each event once, until `signal` aborts. */
export type Subscription = AsyncIterable<SubscriptionItem>

/**
 * An append-only log of streams. One contract suite (test/store/contract.ts) holds for all adapters.
 * Subscriptions mend lost connections by themselves and continue after the last delivered event.
 */
export interface EventStore {
  /** Appends all events or none. */
  append(
    stream: string,
    events: readonly NewEvent[],
    options: { readonly expectedRevision: ExpectedRevision },
  ): ResultAsync<Appended, AppendError>

  /** One page. Empty beyond either end of an existing stream; `stream_not_found` for no stream. */
  readStream(stream: string, options: ReadOptions): ResultAsync<RecordedEvent[], ReadError>

  /** Events after `after` (exclusive; -1 is all). A stream that does not exist yet is waited for. */
  subscribeStream(
    stream: string,
    options: { readonly after: Revision; readonly signal: AbortSignal },
  ): Subscription

  /** Events of all streams whose name begins with `prefix`, after `after` (exclusive; null is all). */
  subscribeAll(options: {
    readonly after: Position | null
    readonly prefix: string
    readonly signal: AbortSignal
  }): Subscription

  /**
   * Puts other data and metadata in the place of stored events, all of them or none, so that nothing of
   * what was there is left in the files of the store. Made again it changes nothing, but makes sure of
   * that. Only for taking something out of the log: an event keeps its place, type and id, by which it is
   * recognized. Stores that cannot change what is stored do not have it.
   */
  overwrite?(events: readonly Overwrite[]): ResultAsync<void, OverwriteError>

  /** Whether the store answers now. */
  ping(): ResultAsync<void, StoreFailure>

  /** Finishes what is under way and lets go; later calls answer `store_unavailable`. */
  close(): Promise<void>
}
