import { parentPort, workerData } from 'node:worker_threads'
import type { Logger } from 'pino'
import { collectAfterStart } from '../../lib/collect-garbage.ts'
import { guardSecrets } from '../../log/masking.ts'
import { type Settings, secretsOf } from '../../server/settings.ts'
import { startRunner, startServer } from '../../server/start-server.ts'
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
const { beats, restarted } = workerData as ThreadData
const given = Promise.withResolvers<Settings>()
const stopping = Promise.withResolvers<void>()
port.on('message', (message: ToThread) => {
  if (message.type === 'serve') given.resolve(message.settings)
  else stopping.resolve()
})

startBeating(beats)
report({ type: 'beating' })
let log: Logger | null = null
// First of all: it must know no key.
const runner = startRunner({
  info: (...of: Parameters<Logger['info']>) => log?.info(...of),
  error: (...of: Parameters<Logger['error']>) => log?.error(...of),
})
report({ type: 'prepared' })
const settings = await given.promise
guardSecrets(secretsOf(settings))
log = createLog(settings.RETRAI_LOG_LEVEL)
const server = await startServer(settings, {
  ...{ log, runner, restarted },
  onLogReplaced: (reason) => report({ type: 'restart', reason }),
})
if (server.isErr()) report({ type: 'failed', message: server.error })
else {
  void stopping.promise.then(async () => {
    await server.value.close()
    report({ type: 'stopped' })
  })
  report({ type: 'listening', url: server.value.url, about: server.value.about })
  if (await server.value.ready) {
    report({ type: 'ready' })
    collectAfterStart()
  }
}
