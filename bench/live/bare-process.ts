/**
 * The limit: a bare `ws` server beside the same store and projections. It broadcasts each append to all sockets. At
 * `/rows/<stream id>` it reads a run with node:sqlite and sends it.
 * Argument: the folder of its data.
 */
import { createServer } from 'node:http'
import { DatabaseSync } from 'node:sqlite'
import { type WebSocket, WebSocketServer } from 'ws'
import type { PreparedAppend } from '../../test/support/append-records.ts'
import { answerCalls } from '../support/calls.ts'
import { cpu, memory, portOf } from './process.ts'
import { openProjectedStore } from './projected-store.ts'
import { Writer } from './writer.ts'

const [folder = ''] = process.argv.slice(2)
const { file, store, readModel, close } = await openProjectedStore(folder)
const TEXT = { binary: false } as const
const PAGE = 1000

const http = createServer()
const sockets = new WebSocketServer({ server: http, perMessageDeflate: false })
const watching = new Set<WebSocket>()
sockets.on('connection', (socket, { url = '' }) => {
  const [, rowsOf] = /^\/rows\/(.*)$/.exec(url) ?? []
  if (rowsOf !== undefined) return void sendRows(socket, rowsOf)
  watching.add(socket)
  socket.once('close', () => watching.delete(socket))
})
await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))

const frame = (json: string, seq: number): Buffer =>
  Buffer.from(`${json.slice(0, -1)},"seq":${seq}}`)

function broadcast({ events, records }: PreparedAppend): void {
  for (const [index, { data }] of events.entries()) {
    const bytes = frame(data, records[index]?.seq ?? 0)
    for (const socket of watching) socket.send(bytes, TEXT)
  }
}

const db = new DatabaseSync(file, { readOnly: true })
const rows = db.prepare(`
  SELECT e.revision, e.data FROM events e JOIN streams s ON s.id = e.stream_id
  WHERE s.name = ? AND e.revision >= ? ORDER BY e.revision LIMIT ?`)

/** One page at a time: it reads the next page after the last one was sent. */
async function sendRows(socket: WebSocket, runId: string): Promise<void> {
  for (let from = 0; socket.readyState === socket.OPEN; ) {
    const page = rows.all(`run-${runId}`, from, PAGE)
    if (page.length === 0) break
    from += page.length
    const gone = Promise.withResolvers<void>()
    for (const [index, { revision, data }] of page.entries()) {
      const bytes = frame(String(data), Number(revision))
      socket.send(bytes, TEXT, index === page.length - 1 ? () => gone.resolve() : undefined)
    }
    await gone.promise
  }
  socket.close(1000)
}

const writer = new Writer(store, broadcast)
answerCalls(
  {
    port: () => portOf(http),
    memory,
    cpu,
    fill: (run: Parameters<Writer['fill']>[0]) => writer.fill(run),
    burst: (load: Parameters<Writer['burst']>[0]) => writer.burst(load),
    trickle: (pace: Parameters<Writer['trickle']>[0]) => writer.trickle(pace),
    projected: ({ runId, seq }: { readonly runId: string; readonly seq: number }) =>
      readModel.waitFor(runId, seq, 600_000),
  },
  async () => {
    for (const socket of sockets.clients) socket.terminate()
    http.close()
    db.close()
    await close()
  },
)
