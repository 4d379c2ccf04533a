import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { siblingModule } from '../../lib/package-files.ts'
import type { Answer, Contents } from './contents-thread.ts'

/** A batch when its turn comes. `sound` has 1 for each record that needs no further check; null if nobody has looked. */
export type Checked<B> = { readonly batch: B; readonly sound: Uint8Array | null }

type Sound = Checked<unknown>['sound']
type Thread = {
  readonly worker: Worker
  readonly ready: Promise<void>
  /** Null before it is ready and after it is lost. */
  waiting: ((sound: Sound) => void)[] | null
}
type Ahead<B> = { readonly batch: B; readonly chars: number; readonly sound: Promise<Sound> }

/** Fewer records are verified before a thread would be ready. */
const START_AFTER_RECORDS = 4_000
/** More threads than these would wait for the caller, which puts the records in order. */
const MAX_THREADS = 4
/** How many batches a thread has at once, and how many are read ahead for each thread. */
const [AT_ONCE, READ_AHEAD] = [3, 6] as const
/** What is read ahead has about this size at most, in characters. */
const MAX_AHEAD_CHARS = 4 * 1024 * 1024
/** Of a thread: batches need little. One that needs more is lost, and the caller checks what it had. */
const HEAP = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 128 }

/**
 * Threads that check records ahead of their order, each by itself, which is most of the work. What they find sound need
 * not be checked again. Everything else is left to the caller, so all findings are made in one place. The caller
 * checks what no thread is free for, so nothing changes but the time if there are no threads.
 */
export class ContentsPool implements Disposable {
  readonly #size: number
  #threads: readonly Thread[] = []
  #seen = 0

  /** @param size how many threads are started after some thousand records */
  constructor(size = Math.min(availableParallelism() - 1, MAX_THREADS)) {
    this.#size = size
  }

  /** The batches in their order, read ahead as far as memory allows. */
  async *check<B>(
    batches: AsyncIterable<B>,
    contentsOf: (batch: B) => Contents,
  ): AsyncGenerator<Checked<B>, void, void> {
    const queue: Ahead<B>[] = []
    let chars = 0
    for await (const batch of batches) {
      // Answers arrive between two turns of the event loop.
      if (this.#threads.length > 0) await nextTurn()
      const contents = contentsOf(batch)
      const entry = { batch, chars: charsOf(contents), sound: this.#offer(contents) }
      queue.push(entry)
      chars += entry.chars
      while (queue.length > READ_AHEAD * this.#threads.length || chars > MAX_AHEAD_CHARS) {
        const [next] = queue.splice(0, 1)
        if (next === undefined) break
        chars -= next.chars
        yield { batch: next.batch, sound: await next.sound }
      }
    }
    for (const next of queue) yield { batch: next.batch, sound: await next.sound }
  }

  /** Starts the threads. */
  async start(): Promise<void> {
    if (this.#threads.length > 0) return
    this.#threads = Array.from({ length: this.#size }, startThread)
    await Promise.all(this.#threads.map(({ ready }) => ready))
  }

  [Symbol.dispose](): void {
    for (const { worker } of this.#threads) void worker.terminate()
  }

  #offer(contents: Contents): Promise<Sound> {
    this.#seen += itemsOf(contents).length
    if (this.#seen >= START_AFTER_RECORDS) void this.start()
    const waits = ({ waiting }: Thread): number => waiting?.length ?? AT_ONCE
    const [first] = this.#threads.toSorted((one, other) => waits(one) - waits(other))
    if (first === undefined || first.waiting === null || first.waiting.length >= AT_ONCE) {
      return Promise.resolve(null)
    }
    const { promise, resolve } = Promise.withResolvers<Sound>()
    first.waiting.push(resolve)
    first.worker.postMessage(contents)
    return promise
  }
}

function startThread(): Thread {
  const worker = new Worker(siblingModule('contents-thread', import.meta.url), {
    resourceLimits: HEAP,
  })
  const { promise: ready, resolve } = Promise.withResolvers<void>()
  const thread: Thread = { worker, ready, waiting: null }
  worker.unref()
  worker.on('message', (message: Answer) => {
    if (message.type === 'checked') return thread.waiting?.shift()?.(message.sound)
    thread.waiting = []
    resolve()
  })
  // The caller checks what a lost thread had.
  const onLost = (): void => {
    for (const answer of thread.waiting ?? []) answer(null)
    thread.waiting = null
    resolve()
  }
  worker.once('error', onLost)
  worker.once('exit', onLost)
  return thread
}

const itemsOf = (contents: Contents) => ('lines' in contents ? contents.lines : contents.events)

const charsOf = (contents: Contents): number =>
  itemsOf(contents).reduce((sum, item) => {
    return sum + (typeof item === 'string' ? item.length : item.data.length + item.metadata.length)
  }, 0)
