import { existsSync, readFileSync } from 'node:fs'
import { workerData } from 'node:worker_threads'

/**
 * Loaded into a server by `--import`: makes its thread stuck for as long as the file RETRAI_TEST_STUCK is there. If
 * that is a FIFO, the thread is stuck in native code, for good.
 */
const file = process.env.RETRAI_TEST_STUCK ?? ''

function spinWhileItIsThere(): void {
  while (existsSync(file));
}

// The thread of the server is the one that beats.
if (workerData?.beats !== undefined) {
  setInterval(() => {
    if (!existsSync(file)) return
    if (file.endsWith('.fifo')) readFileSync(file)
    else spinWhileItIsThere()
  }, 20).unref()
}
