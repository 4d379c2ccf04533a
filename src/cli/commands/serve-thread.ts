import { parentPort, workerData } from 'node:worker_threads'
import { collectAfterStart } from '../../lib/collect-garbage.ts'
import { guardSecrets } from '../../log/masking.ts'
import { secretsOf } from '../../server/settings.ts'
import { startServer } from '../../server/start-server.ts'
import { startBeating } from '../../server/watchdog.ts'
import { createLog } from '../terminal/log.ts'
import type { FromThread, ThreadData, ToThread } from './server-thread.ts'

/**
 * The thread in which the server runs. The main thread only watches it and takes the signals, so the process
 * reports a server that is stuck, and can end it.
 */

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
const report = (message: FromThread): void => port.postMessage(message)
const { settings, beats, restarted } = workerData as ThreadData

startBeating(beats)
report({ type: 'beating' })
guardSecrets(secretsOf(settings))
const server = await startServer(settings, {
  log: createLog(settings.RETRAI_LOG_LEVEL),
  restarted,
  onLogReplaced: (reason) => report({ type: 'restart', reason }),
})
if (server.isErr()) report({ type: 'failed', message: server.error })
else {
  port.on('message', async (_stop: ToThread) => {
    await server.value.close()
    report({ type: 'stopped' })
  })
  report({ type: 'listening', url: server.value.url })
  if (await server.value.ready) {
    report({ type: 'ready' })
    collectAfterStart()
  }
}
