import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'
import type {
  AppendError,
  Appended,
  ExpectedRevision,
  NewEvent,
  Overwrite,
  OverwriteError,
  RecordedEvent,
  StoreFailure,
} from '../event-store.ts'

/** What an operation of a thread returns: a Result cannot be sent. */
export type Answer<T> = { readonly value: T } | { readonly failure: StoreFailure }

export const resultOf = <T>(answer: Answer<T>): Result<T, StoreFailure> =>
  'failure' in answer ? err(answer.failure) : ok(answer.value)

/** The thread that has `file` open has ended. */
export const brokeDown = (file: string, cause: unknown): StoreFailure => ({
  type: 'store_failed',
  message: `the event store ${file} broke down (${messageOf(cause)}): start the server again`,
})

export type Append = {
  readonly stream: string
  readonly expected: ExpectedRevision
  readonly events: readonly NewEvent[]
}

/** What became of an append. */
export type Written = Appended | AppendError

export type WriterOperations = {
  /** Creates, checks and locks the file. Comes first. */
  open(file: string): Answer<null>
  /** Writes appends with one commit. */
  append(group: readonly Append[]): readonly Written[]
  /** Null if it is done. */
  overwrite(events: readonly Overwrite[]): OverwriteError | null
  /** Null if it is done. */
  remove(what: { readonly stream: string; readonly last: number }): AppendError | null
  /** Whether the file takes a write now. */
  probe(none: null): Answer<null>
}

export type StreamRequest = {
  readonly stream: string
  readonly from: number
  readonly backward: boolean
  /** Null: a page of a subscription, which stays small in bytes. */
  readonly limit: number | null
}

/** Positions after `after` (exclusive). */
export type LogRequest = { readonly after: number; readonly prefix: string }

/** What is stored from some place on, up to a bounded size. */
export type LogPage = {
  readonly events: readonly RecordedEvent[]
  /** Everything up to here has been read. */
  readonly cursor: number
  /** Nothing was stored after it when the page was read. */
  readonly end: boolean
}

export type ReaderOperations = {
  /** Opens the file, which the writing thread has made by then. Comes first. */
  open(file: string): Answer<null>
  /** Null if the stream does not exist. */
  stream(request: StreamRequest): Answer<LogPage | null>
  log(request: LogRequest): Answer<LogPage>
  /** Whether the file answers. */
  ping(none: null): Answer<null>
}
