import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { siblingModule } from '../../lib/package-files.ts'
import type { Answer, Order } from './contents-thread.ts'
import {
  type Batch,
  follow,
  type KnownRun,
  type KnownRuns,
  prepare,
  type Verified,
} from './verify-batch.ts'

/** What the pool asks its caller. */
type Caller<I> = {
  batchOf(item: I): Batch
  /** The runs before the batch of an item. It is asked when all items before that one were yielded. */
  knownOf(item: I): KnownRuns
}

/** An item that is not yielded yet. */
type Ahead<I> = {
  readonly item: I
  readonly batch: Batch
  readonly size: number
  /** Null if the thread of the caller verifies it. */
  readonly sent: Sent | null
  readonly prepared: ReturnType<typeof prepare> | null
}

/** How many bytes the caller verifies in the time that a thread needs until it is as fast as the caller. */
const START_AFTER_BYTES = 16 * 1024 * 1024
/** If at least this many records are expected, the threads start at once. */
const MANY_RECORDS = 30_000
/** More threads than these would wait for each other, because they put the records in order. */
const MAX_THREADS = 4
/** How many batches may wait for a thread. */
const AT_ONCE = 2
/** What is read ahead has about this size at most. */
const MAX_AHEAD_BYTES = 1024 * 1024
/** A thread's memory: batches need little. A thread that needs more is lost, and the caller verifies what it had. */
const HEAP = { maxYoungGenerationSizeMb: 16, maxOldGenerationSizeMb: 128 }

/**
 * Verifies batches of records, in threads and in the thread of the caller. Most of the work needs no order. The rest,
 * whether records continue their runs, moves with the states of these runs from one thread to the next. Without
 * threads, only the time changes.
 */
export class ContentsPool implements Disposable {
  readonly #size: number
  #threads: readonly Thread[] = []
  #seenBytes = 0

  /** @param size how many threads are started after some megabytes, or before many records */
  constructor(size = Math.min(availableParallelism() - 1, MAX_THREADS)) {
    this.#size = size
  }

  /** The items in their order, read ahead as far as memory allows. If reading fails, those before come first. */
  async *verify<I>(
    items: AsyncIterable<I>,
    caller: Caller<I>,
  ): AsyncGenerator<{ readonly item: I; readonly verified: Verified }, void, void> {
    const queue: Ahead<I>[] = []
    let failure: { readonly cause: unknown } | null = null
    try {
      try {
        for await (const item of items) {
          queue.push(this.#take(item, caller.batchOf(item)))
          // Answers arrive between two turns of the event loop.
          if (this.#threads.length > 0) await nextTurn()
          yield* inOrder(queue, caller, MAX_AHEAD_BYTES)
        }
      } catch (cause) {
        failure = { cause }
      }
      yield* inOrder(queue, caller, 0)
      if (failure !== null) throw failure.cause
    } finally {
      // The threads have further callers.
      for (const { sent } of queue) if (sent?.isOrdered === false) sent.thread.follow(1, new Map())
    }
  }

  /** Starts the threads if they are worth it for so many records. */
  expect(records: number): void {
    if (records >= MANY_RECORDS) void this.start()
  }

  /** Starts the threads. */
  async start(): Promise<void> {
    if (this.#threads.length > 0) return
    this.#threads = Array.from({ length: this.#size }, () => new Thread())
    await Promise.all(this.#threads.map(({ ready }) => ready))
  }

  [Symbol.dispose](): void {
    for (const thread of this.#threads) thread.end()
  }

  #take<I>(item: I, batch: Batch): Ahead<I> {
    const size = sizeOf(batch)
    this.#seenBytes += size
    if (this.#seenBytes >= START_AFTER_BYTES) void this.start()
    const [first] = this.#threads.toSorted((one, other) => one.waiting - other.waiting)
    const isFree = first !== undefined && first.waiting < AT_ONCE
    const sent = isFree ? first.send(batch) : null
    return { item, batch, size, sent, prepared: sent === null ? prepare(batch) : null }
  }
}

/** Yields what is verified, and waits while more than `most` is ahead. */
async function* inOrder<I>(
  queue: Ahead<I>[],
  { knownOf }: Caller<I>,
  most: number,
): AsyncGenerator<{ readonly item: I; readonly verified: Verified }, void, void> {
  for (let [next] = queue; next !== undefined; [next] = queue) {
    const { item, batch, sent } = next
    if (sent !== null && !sent.isOrdered) orderFirst(sent.thread, queue, knownOf)
    if (sent !== null && sent.answered === undefined) {
      if (queue.reduce((sum, { size }) => sum + size, 0) <= most) return
      await sent.answer
    }
    const verified = sent?.answered ?? follow(next.prepared ?? prepare(batch), knownOf(item))
    queue.shift()
    yield { item, verified }
  }
}

/** Lets a thread follow the first batches of the queue, up to one that it does not have. */
function orderFirst<I>(
  thread: Thread,
  queue: readonly Ahead<I>[],
  knownOf: Caller<I>['knownOf'],
): void {
  const known = new Map<string, KnownRun>()
  let count = 0
  for (const { item, sent } of queue) {
    if (sent?.thread !== thread || sent.isOrdered) break
    for (const [runId, run] of knownOf(item)) known.set(runId, run)
    sent.isOrdered = true
    count += 1
  }
  thread.follow(count, known)
}

/** A batch that a thread has. */
type Sent = {
  readonly thread: Thread
  isOrdered: boolean
  readonly answer: Promise<Verified | null>
  /** Null if the thread was lost. */
  answered: Verified | null | undefined
}

class Thread {
  readonly ready: Promise<void>
  /** How many batches wait for it; infinite before it is ready and after it is lost. */
  waiting = Number.POSITIVE_INFINITY
  readonly #worker: Worker
  #answers: ((verified: Verified | null) => void)[] = []

  constructor() {
    const url = siblingModule('contents-thread', import.meta.url)
    this.#worker = new Worker(url, { resourceLimits: HEAP })
    this.#worker.unref()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ready = promise
    this.#worker.on('message', (message: Answer) => {
      if (message.type === 'verified') this.#answers.shift()?.(message.verified)
      else if (message.type === 'prepared') this.waiting -= 1
      else {
        this.waiting = 0
        resolve()
      }
    })
    // The caller verifies what a lost thread had.
    const onLost = (): void => {
      this.waiting = Number.POSITIVE_INFINITY
      for (const answer of this.#answers) answer(null)
      this.#answers = []
      resolve()
    }
    this.#worker.once('error', onLost)
    this.#worker.once('exit', onLost)
  }

  send(batch: Batch): Sent {
    const { promise: answer, resolve } = Promise.withResolvers<Verified | null>()
    const sent: Sent = { thread: this, isOrdered: false, answer, answered: undefined }
    this.#answers.push((verified) => {
      sent.answered = verified
      resolve(verified)
    })
    this.waiting += 1
    this.#order({ type: 'batch', batch })
    return sent
  }

  /** Lets it follow the first `count` of the batches that it has not followed. */
  follow(count: number, known: KnownRuns): void {
    this.#order({ type: 'follow', count, known })
  }

  end(): void {
    void this.#worker.terminate()
  }

  #order(order: Order): void {
    this.#worker.postMessage(order)
  }
}

const sizeOf = (batch: Batch): number =>
  'lines' in batch
    ? batch.lines.bytes.length
    : batch.events.reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0)
