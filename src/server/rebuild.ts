import { on } from 'node:events'
import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import * as z from 'zod'
import { siblingModule } from '../lib/package-files.ts'
import { decodeCompared } from '../log/codec.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import type { BatchRows } from '../projections/batch.ts'
import { LogFold, MergedBatches } from '../projections/log-fold.ts'
import type { Rebuild } from '../projections/projector.ts'
import { RedactionIndex } from '../redaction/redaction-index.ts'
import { REDACTIONS, Redaction } from '../redaction/redaction-ledger.ts'
import type { Redactor } from '../redaction/redactor.ts'
import { LogScan } from '../store/embedded/log-scan.ts'
import type { RecordedEvent } from '../store/event-store.ts'

/** What is folded: the log from a position on, up to another one, and the runs that are damaged before. */
const Work = z.object({ after: z.int(), through: z.int(), damaged: z.array(z.string()) })
type Work = z.infer<typeof Work>

/** The input of a thread. */
export const Task = Work.extend({
  file: z.string(),
  share: z.object({ index: z.int(), of: z.int() }),
})
type Task = z.infer<typeof Task>

/** With fewer events, this thread has caught up before another one would be ready. */
const WORTH_EVENTS = 20_000
/** How many positions this thread reads and folds before other work gets its turn: about a millisecond. */
const WINDOW = 100
/** Threads that share the work. More would wait for this one, which writes the rows. */
const THREADS = Math.min(2, availableParallelism())

/**
 * Folds the log of an embedded store from its file: a subscription, which gets each record from another thread, takes
 * twice as long. If there is much to fold, separate threads do it. Ends early if a redaction is recorded meanwhile,
 * because the fold does not know it.
 */
export function rebuildFromFile(
  file: string,
  redactor: Pick<Redactor, 'known' | 'ready'>,
  worthEvents = WORTH_EVENTS,
): Rebuild {
  return async function* rebuild(position, damaged, signal) {
    const after = Number(position ?? 0)
    if ((await redactor.ready()).isErr()) return
    const { known } = redactor
    const isOver = (): boolean => signal.aborted || redactor.known !== known
    const opened = LogScan.open(file)
    // The store reports why.
    if (opened.isErr()) return
    using scan = opened.value
    const through = scan.last()
    const work = { after, through, damaged: [...damaged] }
    const batches =
      through - after < worthEvents
        ? foldHere(scan, work, isOver)
        : foldInThreads({ file, ...work }, signal)
    for await (const rows of batches) {
      if (isOver()) return
      yield rows
    }
  }
}

async function* foldHere(
  scan: LogScan,
  work: Work,
  isOver: () => boolean,
): AsyncGenerator<BatchRows> {
  const fold = foldOf(scan, work)
  for (let from = work.after; from < work.through; from += WINDOW) {
    for (const event of scan.window(from, WINDOW)) {
      const rows = isOfRun(event) ? fold.add(event) : null
      if (rows !== null) yield rows
    }
    await nextTurn()
    if (isOver()) return
  }
  const rest = fold.take()
  if (rest !== null) yield rest
}

/** Each thread folds some of the streams. What they folded of the same positions is committed together. */
async function* foldInThreads(
  task: Omit<Task, 'share'>,
  signal: AbortSignal,
): AsyncGenerator<BatchRows> {
  const threads = Array.from({ length: THREADS }, (_, index) =>
    foldInThread({ ...task, share: { index, of: THREADS } }, signal),
  )
  const merged = new MergedBatches()
  try {
    for (;;) {
      const batches = await Promise.all(threads.map((thread) => thread.next()))
      // If a thread ends early, what the others have folded of the next positions is dropped.
      if (batches.some(({ done }) => done)) break
      for (const { value } of batches) if (value) merged.add(value)
      const rows = merged.isFull ? merged.take() : null
      if (rows !== null) yield rows
    }
    const rest = merged.take()
    if (rest !== null) yield rest
  } finally {
    await Promise.all(threads.map((thread) => thread.return()))
  }
}

async function* foldInThread(
  task: Task,
  signal: AbortSignal,
): AsyncGenerator<BatchRows | null, void, void> {
  const worker = new Worker(siblingModule('rebuild-thread', import.meta.url), { workerData: task })
  try {
    for await (const [rows] of on(worker, 'message', { signal, close: ['exit'] })) {
      yield rows satisfies BatchRows | null
      worker.postMessage('next')
    }
  } catch (cause) {
    if (!signal.aborted) throw cause
  } finally {
    await worker.terminate()
  }
}

/** Folds a share of a log. Yields what was folded of each `window` positions, null if that is nothing. */
export function* foldShare(
  scan: LogScan,
  { share, ...work }: Omit<Task, 'file'>,
  window: number,
): Generator<BatchRows | null, void, void> {
  const fold = foldOf(scan, work)
  for (let from = work.after; from < work.through; from += window) {
    // What is appended meanwhile is for later: another share might not have seen it.
    const count = Math.min(window, work.through - from)
    for (const event of scan.window(from, count, share)) {
      if (isOfRun(event) && fold.add(event) !== null) throw new Error('a window fills a batch')
    }
    yield fold.take()
  }
}

const isOfRun = ({ stream }: RecordedEvent): boolean => stream.startsWith(RUN_STREAM_PREFIX)

function foldOf(scan: LogScan, { damaged }: Work): LogFold {
  const redactions = scan.before(REDACTIONS.stream, Number.MAX_SAFE_INTEGER).flatMap((event) => {
    return decodeCompared(Redaction, event)
      .map((redaction) => [redaction])
      .unwrapOr([])
  })
  return new LogFold(scan, new RedactionIndex(redactions), damaged)
}
