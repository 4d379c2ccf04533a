import { existsSync, readFileSync, statSync } from 'node:fs'
import { isMainThread, workerData } from 'node:worker_threads'

/**
 * A server loads this with `--import`. It makes the thread of the server stuck while the file RETRAI_TEST_STUCK
 * exists. If the file is a FIFO, the thread is stuck in native code forever. The main thread looks at the other one as if
 * time passed faster.
 */
const file = process.env.RETRAI_TEST_STUCK ?? ''
const TIMES_FASTER = 8

function spinWhileItIsThere(): void {
  while (existsSync(file));
}

if (isMainThread) {
  const { performance, setInterval: every } = globalThis
  const now = performance.now.bind(performance)
  const faster = (work: () => void, ms: number) => every(work, ms / TIMES_FASTER)
  Object.defineProperty(globalThis, 'setInterval', { value: faster })
  Object.defineProperty(performance, 'now', { value: () => now() * TIMES_FASTER })
}

// Only the thread of the server sends heartbeats.
if (workerData?.beats !== undefined) {
  setInterval(() => {
    if (!existsSync(file)) return
    if (statSync(file).isFIFO()) readFileSync(file)
    else spinWhileItIsThere()
  }, 20).unref()
}
