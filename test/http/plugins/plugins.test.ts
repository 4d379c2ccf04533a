import websocket from '@fastify/websocket'
import fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { limitConnections, limitSockets } from '../../../src/http/plugins/admission.ts'
import { describeApi } from '../../../src/http/plugins/openapi.ts'
import { security } from '../../../src/http/plugins/security.ts'
import { createRun, json, startTestServer, type TestServer } from '../support.ts'

describe('plugins', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startTestServer()
  })
  afterAll(() => server.stop())

  test('make the start fail if one that they depend on is missing', async () => {
    const { auth } = server
    const defaults = { cwd: '/', model_name: 'gpt-5-mini', max_iterations: 20 }
    const limits = { connections: 1, connectionsPerClient: 1, closeMs: 1 }
    await expect(fastify().register(describeApi, { defaults })).rejects.toThrow("'permissions'")
    const withoutWebsocket = fastify()
    await withoutWebsocket.register(limitConnections, limits)
    await expect(withoutWebsocket.register(security, { auth })).rejects.toThrow(
      "'@fastify/websocket'",
    )
    const unguarded = fastify()
    await unguarded.register(limitConnections, limits)
    await unguarded.register(websocket)
    await expect(
      unguarded.register(limitSockets, { sockets: 1, socketsPerClient: 1 }),
    ).rejects.toThrow("'security'")
  })

  test.each([
    ['GET', ''],
    ['GET', '/events'],
    ['GET', '/diff?from=0&to=0'],
    ['GET', '/conversation'],
    ['GET', '/artifacts/0'],
    ['GET', '/export'],
    ['GET', '/proof'],
    ['GET', '/redactions'],
    ['POST', '/abort'],
    ['POST', '/resume'],
    ['PATCH', '/config'],
    ['POST', '/redact'],
  ])('an id that is not a UUID is an unknown run: %s …%s', async (method, path) => {
    const bodies: Record<string, object> = {
      '/abort': {},
      '/resume': { decision: 'approve' },
      '/config': { max_iterations: 3 },
      '/redact': { seq: 0, pointer: '', reason: 'a secret' },
    }
    const body = bodies[path]
    const url = `${server.url}/api/runs/no-run${path}`
    const answer = await fetch(url, body === undefined ? {} : json(method, body))
    expect(answer.status).toBe(404)
    expect(await answer.json()).toMatchObject({ type: 'urn:retrai:problem:run_not_found' })
  })

  test('an id in capitals names the same run', async () => {
    const runId = await createRun(server)
    const answer = await fetch(`${server.url}/api/runs/${runId.toUpperCase()}`)
    expect(await answer.json()).toMatchObject({ run_id: runId })
  })
})
