import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'
import { Thread } from '../../lib/thread.ts'
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

type FileOperations = { readonly [name: string]: (argument: never) => Result<unknown, unknown> }

type ValueOf<R> = R extends Result<infer T, unknown> ? T : never
type ErrorOf<R> = R extends Result<unknown, infer E> ? E : never

/** A thread that has the file of a store open. It must be asked to `open` it first. */
export class FileThread<O extends FileOperations> {
  readonly #file: string
  readonly #thread: Thread<O>

  /** Starts the thread. */
  constructor(module: URL, file: string) {
    this.#file = file
    this.#thread = new Thread(module, null)
  }

  /** Why it has ended; null while it works. */
  get lost(): StoreFailure | null {
    return this.#thread.lost === null ? null : this.#brokeDown(this.#thread.lost)
  }

  ask<K extends keyof O & string>(
    operation: K,
    argument: Parameters<O[K]>[0],
  ): ResultAsync<ValueOf<ReturnType<O[K]>>, ErrorOf<ReturnType<O[K]>> | StoreFailure> {
    const answer = this.#thread.ask(operation, argument)
    return ResultAsync.fromPromise(answer, (cause) => this.#brokeDown(cause)).andThen(
      asResult<ValueOf<ReturnType<O[K]>>, ErrorOf<ReturnType<O[K]>>>,
    )
  }

  /** Finishes what is under way, and closes the file. Nothing may be asked after that. */
  end(): Promise<void> {
    return this.#thread.end()
  }

  #brokeDown(cause: unknown): StoreFailure {
    const message = `the event store ${this.#file} broke down (${messageOf(cause)}): start the server again`
    return { type: 'store_failed', message }
  }
}

/** A Result that came in a message has lost its methods. */
const asResult = <T, E>(sent: Result<unknown, unknown>): Result<T, E> =>
  'error' in sent ? err(sent.error as E) : ok(sent.value as T)

export type Append = {
  readonly stream: string
  readonly expected: ExpectedRevision
  readonly events: readonly NewEvent[]
}

/** What became of an append. */
export type Written = Appended | AppendError

export type WriterOperations = {
  /** Creates, checks and locks the file. Comes first. */
  open(file: string): Result<null, StoreFailure>
  /** Writes appends with one commit. */
  append(group: readonly Append[]): Result<readonly Written[], never>
  overwrite(events: readonly Overwrite[]): Result<void, OverwriteError>
  remove(what: { readonly stream: string; readonly last: number }): Result<void, AppendError>
  /** Whether the file takes a write now. */
  probe(none: null): Result<void, StoreFailure>
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
  open(file: string): Result<null, StoreFailure>
  /** Null if the stream does not exist. */
  stream(request: StreamRequest): Result<LogPage | null, StoreFailure>
  log(request: LogRequest): Result<LogPage, StoreFailure>
  /** Whether the file answers. */
  ping(none: null): Result<void, StoreFailure>
}
