import { on } from 'node:events'
import { Worker } from 'node:worker_threads'
import { siblingModule } from '../lib/package-files.ts'
import type { BatchRows } from '../projections/batch.ts'
import type { Rebuild } from '../projections/projector.ts'
import type { Redactor } from '../redaction/redactor.ts'
import { LogScan } from '../store/embedded/log-scan.ts'
import type { Task } from './rebuild-thread.ts'

/** With fewer events, a subscription has caught up before a thread would be ready. */
const WORTH_EVENTS = 20_000

/**
 * Folds the log of an embedded store in a thread that reads the file itself, so no record passes between threads. Ends
 * early if a redaction is recorded meanwhile, of which the thread does not know.
 */
export function rebuildInThread(
  file: string,
  redactor: Pick<Redactor, 'known' | 'ready'>,
  worthEvents = WORTH_EVENTS,
): Rebuild {
  return async function* rebuild(position, damaged, signal) {
    const after = Number(position ?? 0)
    if ((await redactor.ready()).isErr() || lengthOf(file) - after < worthEvents) return
    const { known } = redactor
    const workerData: Task = { file, after, damaged: [...damaged] }
    const worker = new Worker(siblingModule('rebuild-thread', import.meta.url), { workerData })
    try {
      for await (const [rows] of on(worker, 'message', { signal, close: ['exit'] })) {
        if (redactor.known !== known) return
        yield rows satisfies BatchRows
        worker.postMessage('next')
      }
    } catch (cause) {
      if (!signal.aborted) throw cause
    } finally {
      await worker.terminate()
    }
  }
}

/** The last position; 0 if the log cannot be opened, which the store reports. */
function lengthOf(file: string): number {
  const opened = LogScan.open(file)
  if (opened.isErr()) return 0
  using scan = opened.value
  return scan.last()
}
