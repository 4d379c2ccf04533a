/**
 * The limit: node:http over node:sqlite with nothing in between. Argument: the file of the log.
 * `/parsed` reads each record, adds its seq and writes it with JSON.stringify; `/text` puts the seq into
 * the stored text. `?sse` writes server-sent events, else lines.
 */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DatabaseSync } from 'node:sqlite'

const CHUNK = 64 * 1024
const [file = ''] = process.argv.slice(2)
const db = new DatabaseSync(file, { readOnly: true })
const scan = db.prepare(`
  SELECT e.revision, e.data FROM events e JOIN streams s ON s.id = e.stream_id
  WHERE s.name LIKE 'run-%' ORDER BY e.stream_id, e.revision`)
scan.setReturnArrays(true)

type Write = (data: string, seq: number) => string
const parsed: Write = (data, seq) => JSON.stringify({ ...JSON.parse(data), seq })
const text: Write = (data, seq) => `${data.slice(0, -1)},"seq":${seq}}`

async function serve(url: URL, response: ServerResponse): Promise<void> {
  const write = url.pathname === '/text' ? text : parsed
  const sse = url.search === '?sse'
  response.setHeader('content-type', sse ? 'text/event-stream' : 'application/x-ndjson')
  let chunk = ''
  for (const row of scan.iterate() as Iterable<unknown>) {
    const [seq, data] = row as [number, string]
    const json = write(data, seq)
    chunk += sse ? `id: ${seq}\ndata: ${json}\n\n` : `${json}\n`
    if (chunk.length < CHUNK) continue
    if (!response.write(chunk)) await once(response, 'drain')
    chunk = ''
  }
  response.end(chunk)
}

const server = createServer((request, response) => {
  serve(new URL(request.url ?? '', 'http://bare'), response).catch(console.error)
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.send?.({ url: `http://127.0.0.1:${port}` })
})
process.once('disconnect', () => {
  server.close()
  server.closeAllConnections()
  db.close()
})
