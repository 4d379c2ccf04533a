import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import { expect } from 'vitest'
import { ProblemDocument } from '../../../src/api/problems.ts'
import type { TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'

/** More than the buffers of a connection take, so that a server that closes while this is written resets it. */
const BODY = JSON.stringify({ reason: 'x'.repeat(12_000_000) })

/** Sends the body on a connection that closes after the response. @throws if the connection breaks before */
async function refusalOf(
  server: TestServer,
  path: string,
  headers: Record<string, string>,
): Promise<string> {
  const sent = request(`${server.url}${path}`, { method: 'POST', headers, agent: false })
  sent.end(BODY)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return ProblemDocument.parse(await readJson(response)).type
}

test('a client that sends a body that is too large gets the reason, with and without its length', async ({
  server,
}) => {
  const headers = { 'content-type': 'application/json' }
  for (const further of [{ 'content-length': `${BODY.length}` }, {}]) {
    const type = await refusalOf(server, '/api/runs', { ...headers, ...further })
    expect(type).toBe('urn:retrai:problem:too_large')
  }
})

test('a client that is refused for another reason gets it, however large its body is', async ({
  server,
}) => {
  const headers = { 'content-type': 'text/plain', 'content-length': `${BODY.length}` }
  expect(await refusalOf(server, '/api/nothing', headers)).toBe('urn:retrai:problem:not_found')
  const expecting = { ...headers, expect: 'more' }
  expect(await refusalOf(server, '/api/runs', expecting)).toBe(
    'urn:retrai:problem:expectation_failed',
  )
})
