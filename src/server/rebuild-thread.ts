/** Main module of the thread that folds the log of an embedded store for a read model that has to catch up. */

import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import type { BatchRows } from '../projections/batch.ts'
import { LogScan } from '../store/embedded/log-scan.ts'
import { foldLog, Task } from './rebuild.ts'

/** How many batches may be on their way. The caller answers each. */
const AHEAD = 2
/** How many positions are read at once. */
const WINDOW = 1_000

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
let ahead = 0

async function send(rows: BatchRows): Promise<void> {
  port.postMessage(rows)
  ahead += 1
  if (ahead <= AHEAD) return
  await once(port, 'message')
  ahead -= 1
}

const { file, ...task } = Task.parse(workerData)
const opened = LogScan.open(file)
if (opened.isErr()) throw new Error(opened.error.message)
using scan = opened.value
for (const rows of foldLog(scan, { ...task, window: WINDOW })) if (rows !== null) await send(rows)
port.close()
