import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Append, LogWriter } from './log-writer.ts'
import {
  type Cell,
  CellReader,
  toOverwrites,
  type WriteReply,
  type WriteRequest,
} from './messages.ts'
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
  const overwrite = (cells: readonly Cell[]): void => {
    reply({ type: 'overwritten', failure: writer.overwrite(toOverwrites(cells)) })
  }
  port.on('message', (request: WriteRequest) => {
    if (request.type === 'close') {
      log.close()
      port.close()
      return
    }
    if (request.type === 'probe') {
      reply({ type: 'probed', failure: writer.probe() })
      return
    }
    if (request.type === 'overwrite') {
      overwrite(request.cells)
      return
    }
    const group: Append[] = []
    let size = unpack(request.cells, group)
    // Everything that was queued since the last commit goes into one transaction, and also what comes
    // in while that is written. A close is sent only when all appends are settled.
    let probes = 0
    const overwrites: (readonly Cell[])[] = []
    const more = (): boolean => {
      if (size >= GROUP_SIZE) return false
      const next: WriteRequest | undefined = receiveMessageOnPort(port)?.message
      if (next?.type === 'probe') probes += 1
      if (next?.type === 'overwrite') overwrites.push(next.cells)
      if (next?.type === 'append') size += unpack(next.cells, group)
      return next !== undefined
    }
    for (const settled of writer.write(group, more)) reply(settled)
    for (; probes > 0; probes -= 1) reply({ type: 'probed', failure: writer.probe() })
    for (const cells of overwrites) overwrite(cells)
  })
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
