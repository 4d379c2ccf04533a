/** The limit: a bare fastify route that answers with given bytes. */
import fastify from 'fastify'
import { portOf } from '../live/process.ts'
import { answerCalls } from '../support/calls.ts'

let body = ''
const app = fastify()
app.get('/bytes', (_request, reply) => reply.type('application/json; charset=utf-8').send(body))
await app.listen({ host: '127.0.0.1', port: 0 })

const operations = {
  port: () => portOf(app.server),
  answerWith: (bytes: string) => {
    body = bytes
  },
}
export type BareOperations = typeof operations

answerCalls(operations, () => app.close())
