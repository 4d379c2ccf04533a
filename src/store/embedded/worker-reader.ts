import type { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { LogReader } from './log-reader.ts'
import type { ReadReply, ReadRequest } from './messages.ts'
import { openForReading } from './open-log.ts'
import { storeFailed } from './sqlite-failure.ts'

/** The thread that reads, so that a long read never delays an append. */

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
const file = String(workerData)
const reply = (message: ReadReply): void => port.postMessage(message)

openForReading(file).match(
  (db) => {
    serve(db)
    reply({ type: 'opened' })
  },
  (failure) => {
    reply({ type: 'refused', failure })
    port.close()
  },
)

function serve(db: DatabaseSync): void {
  const reader = new LogReader(db)
  port.on('message', (request: ReadRequest) => {
    if (request.op === 'close') {
      db.close()
      port.close()
      return
    }
    try {
      if (request.op === 'stream') reader.stream(request, reply)
      else if (request.op === 'all') reader.all(request, reply)
      else reader.ping(request.id, reply)
    } catch (error) {
      reply({ type: 'failed', id: request.id, failure: storeFailed(file, error) })
    }
  })
}
