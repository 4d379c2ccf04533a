import type { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { LogReader } from './log-reader.ts'
import type { Opening, ReadReply, ReadRequest } from './messages.ts'
import { openForReading } from './open-log.ts'
import { storeFailed } from './sqlite-failure.ts'

/** The thread that reads, so that a long read never delays an append. */

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
const file = String(workerData)
const reply = (message: Opening | ReadReply): void => port.postMessage(message)

let opened: { readonly db: DatabaseSync; readonly reader: LogReader } | null = null

port.on('message', (request: ReadRequest) => {
  if (request.op === 'open') open()
  else if (request.op === 'close') {
    opened?.db.close()
    port.close()
  } else if (opened !== null) answer(request, opened.reader)
})

function open(): void {
  openForReading(file).match(
    (db) => {
      opened = { db, reader: new LogReader(db) }
      reply({ type: 'opened' })
    },
    (failure) => {
      reply({ type: 'refused', failure })
      port.close()
    },
  )
}

function answer(request: Exclude<ReadRequest, { op: 'open' | 'close' }>, reader: LogReader): void {
  try {
    if (request.op === 'stream') reader.stream(request, reply)
    else if (request.op === 'all') reader.all(request, reply)
    else reader.ping(request.id, reply)
  } catch (error) {
    reply({ type: 'failed', id: request.id, failure: storeFailed(file, error) })
  }
}
