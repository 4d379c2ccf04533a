import type { ResultAsync } from 'neverthrow'

/** Place of an event in its stream: 0, 1, 2 … without gaps. */
export type Revision = number
/** Opaque place of an event in the whole log; later events have other positions, never compare them. */
export type Position = string

/**
 * An event to append. `data` and `metadata` are JSON text as `JSON.stringify` writes it. A store keeps the text as it is,
 * and never interprets it.
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
  /** When the store appended it, milliseconds since the epoch. */
  readonly created: number
  /**
   * Somebody has altered the stored text of its data or metadata: `JSON.stringify` would not write it like this. Two
   * readers may understand such text differently, so it is not read as a record.
   */
  readonly altered?: true
}

/** The state of a stream in which an append is made. A number is the exact last revision. */
export type ExpectedRevision = Revision | 'no_stream' | 'any'

/** The largest append, in bytes of data and metadata: below the 1 MiB of EventStoreDB 23 and 24. */
export const MAX_APPEND_BYTES = 1_000_000
/** The largest page that a read returns. */
export const MAX_PAGE = 4096

/** The size of an append, in bytes of data and metadata. */
export function appendBytes(events: readonly Pick<NewEvent, 'data' | 'metadata'>[]): number {
  let bytes = 0
  for (const { data, metadata } of events) {
    bytes += Buffer.byteLength(data) + Buffer.byteLength(metadata)
  }
  return bytes
}

export type StoreFailure =
  /** The store cannot be reached or is closing. The request may be right. */
  | { readonly type: 'store_unavailable'; readonly message: string }
  /** The store reports that it cannot do it: a full disk, no access, damaged data. */
  | { readonly type: 'store_failed'; readonly message: string }

export type AppendError =
  | StoreFailure
  | {
      readonly type: 'wrong_expected_revision'
      readonly expected: ExpectedRevision
      readonly actual: Revision | 'no_stream'
    }
  | { readonly type: 'append_too_large'; readonly bytes: number; readonly limit: number }
  /** No answer in time: the events may or may not be stored. Repeat the append with the same ids to find out. */
  | { readonly type: 'outcome_unknown'; readonly message: string }

export type ReadError =
  | StoreFailure
  | { readonly type: 'stream_not_found'; readonly stream: string }

export type Appended = {
  /** Revision of the last event of the append. */
  readonly revision: Revision
}

export type ReadOptions = {
  /** Inclusive. `end`: the last event, only backward. */
  readonly from: Revision | 'end'
  readonly direction: 'forward' | 'backward'
  /** At most MAX_PAGE events. */
  readonly limit: number
}

/** What replaces a stored event. */
export type Overwrite = Pick<RecordedEvent, 'stream' | 'revision' | 'id' | 'data' | 'metadata'>

export type OverwriteError =
  | StoreFailure
  /** There is no event at that place, or one with another id. Nothing was changed. */
  | { readonly type: 'other_event'; readonly stream: string; readonly revision: Revision }

/**
 * What a subscription delivers. `caught_up` comes when all that is stored at that moment has been delivered, and again
 * after the subscription fell behind or lost its store.
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
 * Subscriptions replace lost connections by themselves, and continue after the last delivered event.
 */
export interface EventStore {
  /** Appends all events or none. */
  append(
    stream: string,
    events: readonly NewEvent[],
    options: { readonly expectedRevision: ExpectedRevision },
  ): ResultAsync<Appended, AppendError>

  /** One page. It is empty beyond either end of a stream. `stream_not_found` if the stream does not exist. */
  readStream(stream: string, options: ReadOptions): ResultAsync<RecordedEvent[], ReadError>

  /** Events after `after` (exclusive; -1 is all). Waits for a stream that does not exist yet. */
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
   * Replaces the data and metadata of stored events, of all of them or of none, so that nothing of the old texts is
   * left in the files of the store. A second call changes nothing, but makes sure of that. Only for redactions: an
   * event keeps its place, type and id. A store that cannot change what is stored does not have this.
   */
  overwrite?(events: readonly Overwrite[]): ResultAsync<void, OverwriteError>

  /**
   * Deletes a stream and all its events; one that does not exist is deleted already. The bytes leave the files of the
   * store when its operator scavenges it. Stores that overwrite events do not have it.
   */
  deleteStream?(stream: string): ResultAsync<void, StoreFailure>

  /**
   * Removes a stream with all its events for ever, if this is its last revision: it reads as one that does not exist, and
   * takes no append any more. Done already if it was removed before. Only for retention. Until the operator of an
   * EventStoreDB scavenges it, `subscribeAll` delivers the events, and their bytes are in its files.
   */
  removeStream?(stream: string, last: Revision): ResultAsync<void, AppendError>

  /**
   * Makes the store keep only the latest `count` events of a stream, now and after later appends; they keep their
   * revisions. Changes nothing if its operator has limited the stream already. The bytes of the others leave the files
   * of the store when its operator scavenges it. A store that one process uses alone does not have it.
   */
  keepLatest?(stream: string, count: number): ResultAsync<void, StoreFailure>

  /** Whether the store answers now. */
  ping(): ResultAsync<void, StoreFailure>

  /** Finishes what is under way and closes the store. Later calls fail with `store_unavailable`. */
  close(): Promise<void>
}

/** A store that answers some calls in its own way, and all others as `store` does. */
export function storeWith(store: EventStore, own: Partial<EventStore>): EventStore {
  const { overwrite, deleteStream, removeStream, keepLatest } = store
  return {
    append: (...call) => store.append(...call),
    readStream: (...call) => store.readStream(...call),
    subscribeStream: (...call) => store.subscribeStream(...call),
    subscribeAll: (...call) => store.subscribeAll(...call),
    ...(overwrite && { overwrite: (...call) => overwrite.apply(store, call) }),
    ...(deleteStream && { deleteStream: (...call) => deleteStream.apply(store, call) }),
    ...(removeStream && { removeStream: (...call) => removeStream.apply(store, call) }),
    ...(keepLatest && { keepLatest: (...call) => keepLatest.apply(store, call) }),
    ping: () => store.ping(),
    close: () => store.close(),
    ...own,
  }
}
