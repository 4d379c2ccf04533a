import { expect, test } from 'vitest'
import { logger, rawRequest, startTestServer, type TestServer } from '../../support/server.ts'

type Line = {
  readonly level: number
  readonly msg: string
  readonly req?: { readonly method: string; readonly url: string }
  readonly res?: { readonly statusCode: number }
}

/** The log lines about requests, after the server has stopped. */
async function linesOf(ask: (server: TestServer) => Promise<unknown>): Promise<Line[]> {
  const log = logger('debug')
  const server = await startTestServer({
    logger: log.logger,
    ready: async () => ({ ready: false, checks: { store: { ok: false } } }),
  })
  try {
    await ask(server)
  } finally {
    await server.stop()
  }
  const lines: Line[] = log
    .written()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return lines.filter(({ req }) => req !== undefined)
}

test('each request is one log line when it is complete; successful probes are at the level debug', async () => {
  const lines = await linesOf(async (server) => {
    await server.createRun()
    await rawRequest(server, { path: '/api/runs/nobody' })
    await rawRequest(server, { path: '/health/live' })
    await rawRequest(server, { path: '/health/ready' })
  })
  const told = lines.map(({ level, req, res }) => [level, req?.method, req?.url, res?.statusCode])
  expect(told).toEqual([
    [30, 'POST', '/api/runs', 201],
    [30, 'GET', '/api/runs/nobody', 404],
    [20, 'GET', '/health/live', 200],
    [30, 'GET', '/health/ready', 503],
  ])
})
