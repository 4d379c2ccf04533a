import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { json as readJson, text } from 'node:stream/consumers'
import fastify from 'fastify'
import { afterEach, expect, test } from 'vitest'
import { ProblemDocument } from '../../../src/api/problems.ts'
import { beforeSending } from '../../../src/http/plugins/before-sending.ts'
import { startTestServer, type TestServer } from '../support.ts'

let server: TestServer | undefined
afterEach(async () => {
  await server?.stop()
  server = undefined
})

/** More than the buffers of a connection take, so that a server that closes while this is written resets it. */
const BODY = JSON.stringify({ reason: 'x'.repeat(12_000_000) })

/** Sends the body on a connection that closes after the response. @throws if the connection breaks before */
async function refusalOf(path: string, headers: Record<string, string>): Promise<string> {
  const sent = request(`${server?.url}${path}`, { method: 'POST', headers, agent: false })
  sent.end(BODY)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return ProblemDocument.parse(await readJson(response)).type
}

test('a client that sends a body that is too large gets the reason, with and without its length', async () => {
  server = await startTestServer()
  const headers = { 'content-type': 'application/json' }
  for (const further of [{ 'content-length': `${BODY.length}` }, {}]) {
    const type = await refusalOf('/api/runs', { ...headers, ...further })
    expect(type).toBe('urn:retrai:problem:too_large')
  }
})

test('a client that is refused for another reason gets it, however large its body is', async () => {
  server = await startTestServer()
  const headers = { 'content-type': 'text/plain', 'content-length': `${BODY.length}` }
  expect(await refusalOf('/api/nothing', headers)).toBe('urn:retrai:problem:not_found')
  const expecting = { ...headers, expect: 'more' }
  expect(await refusalOf('/api/runs', expecting)).toBe('urn:retrai:problem:expectation_failed')
})

test('answers of one turn are all sent, also if one of them cannot be written', async () => {
  const app = fastify()
  await app.register(beforeSending, { stallMs: 1000 })
  app.get('/good', async () => 'good')
  app.get('/bad', async (_request, reply) => reply.header('x-bad', 'a\nb').send('bad'))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  // Requests that arrive in one piece are handled in one turn.
  const paths = ['/good', '/bad', '/good', '/bad', '/good']
  const requests = paths.map((path, index) => {
    const connection = index === paths.length - 1 ? 'close' : 'keep-alive'
    return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: ${connection}\r\n\r\n`
  })
  const { port } = new URL(url)
  const answers = await text(connect(Number(port), '127.0.0.1').end(requests.join('')))
  const statuses = [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
  expect(statuses).toEqual([200, 500, 200, 500, 200])
  await app.close()
})
