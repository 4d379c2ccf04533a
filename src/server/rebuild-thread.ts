/** Main module of a thread that folds a share of the log of an embedded store for a read model that has to catch up. */

import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import type { BatchRows } from '../projections/batch.ts'
import { SHARE_WINDOW } from '../projections/log-fold.ts'
import { LogScan } from '../store/embedded/log-scan.ts'
import { foldShare, Task } from './rebuild.ts'

/** How many batches may be on their way. The caller answers each. */
const AHEAD = 4

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
let ahead = 0

async function send(rows: BatchRows | null): Promise<void> {
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
for (const rows of foldShare(scan, task, SHARE_WINDOW)) await send(rows)
port.close()
