/** Main module of the thread that folds the log of an embedded store for a read model that has to catch up. */

import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import * as z from 'zod'
import { decodeCompared } from '../log/codec.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import type { BatchRows } from '../projections/batch.ts'
import { LogFold } from '../projections/log-fold.ts'
import { RedactionIndex } from '../redaction/redaction-index.ts'
import { REDACTIONS, Redaction } from '../redaction/redaction-ledger.ts'
import { LogScan } from '../store/embedded/log-scan.ts'

/** The input of the thread: the log, the position after which it begins, and the runs that are damaged before. */
const Task = z.object({ file: z.string(), after: z.int(), damaged: z.array(z.string()) })
export type Task = z.infer<typeof Task>

/** How many batches may be on their way. The caller answers each. */
const AHEAD = 2
/** How many positions are read at once. */
const WINDOW = 1_000

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
let ahead = 0

async function send(rows: BatchRows | null): Promise<void> {
  if (rows === null) return
  port.postMessage(rows)
  ahead += 1
  if (ahead <= AHEAD) return
  await once(port, 'message')
  ahead -= 1
}

async function foldAll({ file, after, damaged }: Task): Promise<void> {
  const opened = LogScan.open(file)
  if (opened.isErr()) throw new Error(opened.error.message)
  using scan = opened.value
  const redactions = scan.before(REDACTIONS.stream, Number.MAX_SAFE_INTEGER).flatMap((event) => {
    return decodeCompared(Redaction, event)
      .map((redaction) => [redaction])
      .unwrapOr([])
  })
  const fold = new LogFold(scan, new RedactionIndex(redactions), damaged)
  const last = scan.last()
  for (let from = after; from < last; from += WINDOW) {
    for (const event of scan.window(from, WINDOW)) {
      if (event.stream.startsWith(RUN_STREAM_PREFIX)) await send(fold.add(event))
    }
  }
  await send(fold.take())
}

await foldAll(Task.parse(workerData))
port.close()
