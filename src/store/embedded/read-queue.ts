import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow'
import { siblingModule } from '../../lib/package-files.ts'
import {
  MAX_PAGE,
  type ReadError,
  type ReadOptions,
  type RecordedEvent,
  type StoreFailure,
} from '../event-store.ts'
import { type ReadReply, type ReadRequest, toEvents } from './messages.ts'
import { Thread } from './thread.ts'

type Done = Extract<ReadReply, { type: 'done' }>

/** An answer of the reader: the rows of all its parts. */
type ReadAnswer = Pick<Done, 'found' | 'end' | 'cursor'> & {
  readonly events: RecordedEvent[]
}

type Waiting = {
  /** The stream that is read; null if each row names its own. */
  readonly stream: string | null
  readonly events: RecordedEvent[]
  readonly settle: (result: Result<ReadAnswer, StoreFailure>) => void
}

const READER = siblingModule('worker-reader', import.meta.url)

/** The reads under way. Joins the parts in which the reading thread answers. */
export class ReadQueue {
  readonly #thread: Thread<ReadRequest, ReadReply>
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0
  #lost: StoreFailure | null = null
  #idle: () => void = () => {}

  /** Starts the thread. */
  constructor(file: string) {
    this.#thread = new Thread<ReadRequest, ReadReply>(
      READER,
      file,
      (reply) => this.#take(reply),
      (failure) => this.#lose(failure),
    )
  }

  /** Opens the file, which must be there. No read may come before. */
  open(): ResultAsync<void, StoreFailure> {
    this.#thread.send({ op: 'open' })
    return this.#thread.opened()
  }

  /** @param stream the stream that is read; null if each row names its own */
  ask(
    stream: string | null,
    request: (id: number) => ReadRequest,
  ): ResultAsync<ReadAnswer, StoreFailure> {
    if (this.#lost !== null) return errAsync(this.#lost)
    this.#lastId += 1
    const id = this.#lastId
    return new ResultAsync(
      new Promise((settle) => {
        this.#waiting.set(id, { stream, events: [], settle })
        this.#thread.send(request(id))
      }),
    )
  }

  /** Finishes what is under way, and closes the file. No read may follow. */
  async close(): Promise<void> {
    if (this.#waiting.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    this.#thread.send({ op: 'close' })
    await this.#thread.ended()
  }

  #take(reply: ReadReply): void {
    const waiting = this.#waiting.get(reply.id)
    if (waiting === undefined) return
    if (reply.type === 'failed') {
      this.#settle(reply.id, waiting, err(reply.failure))
      return
    }
    for (const event of toEvents(reply, waiting.stream)) waiting.events.push(event)
    if (reply.type === 'rows') return
    const { found, end, cursor } = reply
    this.#settle(reply.id, waiting, ok({ events: waiting.events, found, end, cursor }))
  }

  /** The reader has ended. */
  #lose(failure: StoreFailure): void {
    this.#lost ??= failure
    for (const [id, waiting] of this.#waiting) this.#settle(id, waiting, err(failure))
  }

  #settle(id: number, waiting: Waiting, result: Result<ReadAnswer, StoreFailure>): void {
    this.#waiting.delete(id)
    waiting.settle(result)
    if (this.#waiting.size === 0) this.#idle()
  }
}

/** One page of a stream, as the port has it. */
export function readStream(
  reads: ReadQueue,
  stream: string,
  { from, direction, limit }: ReadOptions,
): ResultAsync<RecordedEvent[], ReadError> {
  const request = {
    op: 'stream',
    stream,
    from: firstRevision(from),
    backward: direction === 'backward',
    limit: Math.min(atLeast(0, limit), MAX_PAGE),
  } as const
  return reads
    .ask(stream, (id) => ({ ...request, id }))
    .andThen(({ found, events }): Result<RecordedEvent[], ReadError> => {
      return found ? ok(events) : err({ type: 'stream_not_found', stream })
    })
}

function firstRevision(from: ReadOptions['from']): number {
  if (from === 'start') return 0
  return from === 'end' ? Number.MAX_SAFE_INTEGER : atLeast(0, from)
}

/** @throws RangeError unless the value is an integer of at least `least` */
export function atLeast(least: number, value: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RangeError(`an integer of at least ${least} is needed, not ${value}`)
}
