import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Append, LogWriter } from './log-writer.ts'
import {
  type Cell,
  CellReader,
  type Opening,
  toOverwrites,
  type WriteReply,
  type WriteRequest,
} from './messages.ts'
import { type OpenedLog, openLog } from './open-log.ts'

/** The thread that writes. It owns the file: no other thread creates, locks or changes it. */

/** A group takes no more appends once it has this many characters, so that a commit stays short. */
const GROUP_SIZE = 8_000_000

/**
 * How long to poll for the next request. A caller whose append has settled often makes the next one at once, and to be
 * woken for it costs a good part of a commit: bench/store-append.ts measures it.
 */
const SPIN_MS = 0.05

if (parentPort === null) throw new Error('this module is the main module of a worker thread')
const port = parentPort
const reply = (message: Opening | WriteReply): void => port.postMessage(message)

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
    let request: WriteRequest | undefined = first
    while (request !== undefined) {
      answer(request, log, writer)
      request = request.type === 'close' ? undefined : nextSoon(writer)
    }
  })
}

function answer(request: WriteRequest, log: OpenedLog, writer: LogWriter): void {
  if (request.type === 'append') answerGroup(request.cells, log, writer)
  else if (request.type === 'probe') reply({ type: 'probed', failure: writer.probe() })
  else if (request.type === 'overwrite') {
    reply({ type: 'overwritten', failure: writer.overwrite(toOverwrites(request.cells)) })
  } else {
    log.close()
    writer.close()
    port.close()
  }
}

/**
 * All that was queued since the last commit goes into one transaction, together with what arrives while that is
 * written. A close is sent only when all appends are settled.
 */
function answerGroup(cells: readonly Cell[], log: OpenedLog, writer: LogWriter): void {
  const group: Append[] = []
  const others: WriteRequest[] = []
  let size = unpack(cells, group)
  const more = (): boolean => {
    if (size >= GROUP_SIZE) return false
    const next = take()
    if (next?.type === 'append') size += unpack(next.cells, group)
    else if (next !== undefined) others.push(next)
    return next !== undefined
  }
  for (const settled of writer.write(group, more)) reply(settled)
  for (const request of others) answer(request, log, writer)
}

function take(): WriteRequest | undefined {
  return receiveMessageOnPort(port)?.message
}

/** The next request, if it comes soon. Its transaction begins meanwhile. */
function nextSoon(writer: LogWriter): WriteRequest | undefined {
  const until = performance.now() + SPIN_MS
  writer.begin()
  let request = take()
  while (request === undefined && performance.now() < until) request = take()
  if (request?.type !== 'append') writer.rest()
  return request
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
