import { parentPort, workerData } from 'node:worker_threads'
import { guardSecrets } from '../../masking/process-mask.ts'
import { secretsOf } from '../../server/settings.ts'
import { startServer } from '../../server/start-server.ts'
import { createLog } from '../terminal/log.ts'
import type { FromThread, ThreadData } from './serve.ts'

/**
 * The thread in which the server runs. The main thread only watches it and takes the signals, so the process
 * reports a server that is stuck, and can end it.
 */

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
const report = (message: FromThread): void => port.postMessage(message)
const { settings, beatMs, beats } = workerData as ThreadData
const stopping = new Promise((resolve) => port.once('message', resolve))

setInterval(() => Atomics.add(beats, 0, 1), beatMs).unref()
guardSecrets(secretsOf(settings))
const server = await startServer(settings, {
  log: createLog(settings.RETRAI_LOG_LEVEL),
  onLogReplaced: () => report({ type: 'log_replaced' }),
})
if (server.isErr()) report({ type: 'failed', message: server.error })
else {
  const { url, about, ready, close } = server.value
  void stopping.then(close).then(() => report({ type: 'stopped' }))
  report({ type: 'listening', url, about })
  if (await ready) report({ type: 'ready' })
}
