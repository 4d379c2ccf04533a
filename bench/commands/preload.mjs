// Loaded into each thread of a measured server. The main thread makes the process as large as BENCH_BALLAST_MIB says.
// On SIGUSR2, the thread of the server begins to measure its event loop; on the next one it writes what it measured.
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BroadcastChannel, isMainThread, workerData } from 'node:worker_threads'

const { BENCH_BALLAST_MIB = '0', BENCH_REPORT = '' } = process.env
const channel = new BroadcastChannel('bench')
channel.unref()
if (isMainThread) {
  globalThis.ballast = Buffer.alloc(Number(BENCH_BALLAST_MIB) * 2 ** 20, 1)
  process.on('SIGUSR2', () => channel.postMessage('turn'))
} else if (workerData?.beats !== undefined) {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  const delays = monitorEventLoopDelay({ resolution: 1 })
  let measures = false
  channel.onmessage = () => {
    measures = !measures
    if (measures) {
      delays.reset()
      delays.enable()
      return
    }
    delays.disable()
    const loopP99Ms = delays.percentile(99) / 1e6
    collect()
    const rssMiB = process.memoryUsage.rss() / 2 ** 20
    writeFileSync(`${BENCH_REPORT}.new`, JSON.stringify({ loopP99Ms, rssMiB }))
    renameSync(`${BENCH_REPORT}.new`, BENCH_REPORT)
  }
}
