import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Append, LogWriter } from './log-writer.ts'
import { CellReader, type WriteReply, type WriteRequest } from './messages.ts'
import { type OpenedLog, openLog } from './open-log.ts'

/** The thread that writes. It owns the file: nobody else makes it, locks it or changes it. */

/** A group is closed when it has as many characters as this, so that a commit stays short. */
const GROUP_SIZE = 8_000_000

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
const reply = (message: WriteReply): void => port.postMessage(message)

openLog(String(workerData)).match(
  (log) => {
    serve(log)
    reply({ type: 'opened' })
  },
  (failure) => {
    reply({ type: 'refused', failure })
    port.close()
  },
)

function serve(log: OpenedLog): void {
  const writer = new LogWriter(log.db, log.file)
  port.on('message', (first: WriteRequest) => {
    // Everything that was queued while the last commit ran goes into one transaction.
    for (let request: WriteRequest | undefined = first; request !== undefined; ) {
      const group: Append[] = []
      let size = 0
      while (request?.type === 'append' && size < GROUP_SIZE) {
        size += unpack(request.cells, group)
        request = next()
      }
      for (const settled of writer.write(group)) reply(settled)
      if (request?.type === 'close') {
        log.close()
        port.close()
        return
      }
    }
  })
}

function next(): WriteRequest | undefined {
  return receiveMessageOnPort(port)?.message
}

/** Adds the appends of a message to the group; returns their size in characters. */
function unpack(cells: readonly unknown[], group: Append[]): number {
  const reader = new CellReader(cells)
  let size = 0
  while (!reader.done) {
    const stream = reader.text()
    const expected = reader.number()
    const events: string[] = []
    for (let count = reader.number() * 4; count > 0; count -= 1) {
      const text = reader.text()
      size += text.length
      events.push(text)
    }
    group.push({ stream, expected, events })
  }
  return size
}
