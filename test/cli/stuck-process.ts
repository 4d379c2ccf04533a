import { existsSync, readFileSync } from 'node:fs'
import { workerData } from 'node:worker_threads'

/**
 * A server loads this with `--import`. It makes the thread of the server stuck while the file RETRAI_TEST_STUCK
 * exists. If the file is a FIFO, the thread is stuck in native code forever.
 */
const file = process.env.RETRAI_TEST_STUCK ?? ''

function spinWhileItIsThere(): void {
  while (existsSync(file));
}

// Only the thread of the server sends heartbeats.
if (workerData?.beats !== undefined) {
  setInterval(() => {
    if (!existsSync(file)) return
    if (file.endsWith('.fifo')) readFileSync(file)
    else spinWhileItIsThere()
  }, 20).unref()
}
