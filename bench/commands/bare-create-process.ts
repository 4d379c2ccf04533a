/** The limit of creating a run: a bare fastify route that stores each body with one commit of bare node:sqlite, and answers. */
import { randomUUID } from 'node:crypto'
import fastify from 'fastify'
import { portOf } from '../live/process.ts'
import { BareLog } from '../support/bare-log.ts'

const [file = ''] = process.argv.slice(2)
/** What a new run appends to the log, about. */
const DATA = JSON.stringify({ text: 'x'.repeat(8 * 1024) })

const log = new BareLog(file)
log.addStreams(1)
let revision = -1
const app = fastify()
app.post('/api/runs', (_request, reply) => {
  revision += 1
  const event = { id: randomUUID(), type: 'run_created', data: DATA, metadata: '{"schema":1}' }
  log.append([{ stream: 1, revision, event }])
  return reply.code(201).send({ run_id: event.id, status: 'running' })
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', async () => {
  await app.close()
  log.close()
})
process.send?.({ url: `http://127.0.0.1:${portOf(app.server)}` })
