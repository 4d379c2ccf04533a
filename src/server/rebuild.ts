import { on } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import * as z from 'zod'
import { siblingModule } from '../lib/package-files.ts'
import { decodeCompared } from '../log/codec.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import { type BatchRows, LogFold } from '../projections/batch.ts'
import type { Rebuild } from '../projections/projector.ts'
import { RedactionIndex } from '../redaction/redaction-index.ts'
import { REDACTIONS, Redaction } from '../redaction/redaction-ledger.ts'
import type { Redactor } from '../redaction/redactor.ts'
import { LogScan } from '../store/embedded/log-scan.ts'

/** The input of the thread: the log, the position after which it begins, and the runs that are damaged before. */
export const Task = z.object({ file: z.string(), after: z.int(), damaged: z.array(z.string()) })
export type Task = z.infer<typeof Task>

/** With fewer events, this thread has caught up before another one would be ready. */
const WORTH_EVENTS = 20_000
/** How many positions this thread reads and folds before other work gets its turn: about a millisecond. */
const WINDOW = 100

/**
 * Folds the log of an embedded store from its file: a subscription, which gets each record from another thread, takes
 * twice as long. If there is much to fold, a separate thread does it. Ends early if a redaction is recorded meanwhile,
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
    const task = { after, damaged: [...damaged] }
    const batches =
      scan.last() - after < worthEvents
        ? foldHere(scan, task, isOver)
        : foldInThread({ file, ...task }, signal)
    for await (const rows of batches) {
      if (isOver()) return
      yield rows
    }
  }
}

async function* foldHere(
  scan: LogScan,
  task: Omit<Task, 'file'>,
  isOver: () => boolean,
): AsyncGenerator<BatchRows> {
  for (const rows of foldLog(scan, { ...task, window: WINDOW })) {
    if (rows !== null) yield rows
    await nextTurn()
    if (isOver()) return
  }
}

async function* foldInThread(task: Task, signal: AbortSignal): AsyncGenerator<BatchRows> {
  const worker = new Worker(siblingModule('rebuild-thread', import.meta.url), { workerData: task })
  try {
    for await (const [rows] of on(worker, 'message', { signal, close: ['exit'] })) {
      yield rows satisfies BatchRows
      worker.postMessage('next')
    }
  } catch (cause) {
    if (!signal.aborted) throw cause
  } finally {
    await worker.terminate()
  }
}

/** Folds a log from a position on, window by window. Yields full batches, the rest, and null after each window. */
export function* foldLog(
  scan: LogScan,
  { after, damaged, window }: Omit<Task, 'file'> & { readonly window: number },
): Generator<BatchRows | null, void, void> {
  const redactions = scan.before(REDACTIONS.stream, Number.MAX_SAFE_INTEGER).flatMap((event) => {
    return decodeCompared(Redaction, event)
      .map((redaction) => [redaction])
      .unwrapOr([])
  })
  const fold = new LogFold(scan, new RedactionIndex(redactions), damaged)
  const last = scan.last()
  for (let from = after; from < last; from += window) {
    for (const event of scan.window(from, window)) {
      const rows = event.stream.startsWith(RUN_STREAM_PREFIX) ? fold.add(event) : null
      if (rows !== null) yield rows
    }
    yield null
  }
  yield fold.take()
}
