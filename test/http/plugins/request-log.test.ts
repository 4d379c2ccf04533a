import { expect } from 'vitest'
import * as z from 'zod'
import { logger, rawRequest } from '../../support/server.ts'
import { test } from '../../support/test.ts'

const Line = z.object({
  level: z.int(),
  req: z.object({ method: z.string(), url: z.string() }).optional(),
  res: z.object({ statusCode: z.int() }).optional(),
})

test('each request is one log line when it is complete; successful probes are at the level debug', async ({
  startServer,
}) => {
  const log = logger('debug')
  const ready = async () => ({ ready: false, checks: { store: { ok: false } } })
  const server = await startServer({ logger: log.logger, ready })
  await server.createRun()
  for (const path of ['/api/runs/nobody', '/health/live', '/health/ready']) {
    await rawRequest(server, { path })
  }
  await server.stop()
  const lines = log.written().trim().split('\n')
  const told = lines.flatMap((line) => {
    const { level, req, res } = Line.parse(JSON.parse(line))
    return req === undefined ? [] : [[level, req.method, req.url, res?.statusCode]]
  })
  expect(told).toEqual([
    [30, 'POST', '/api/runs', 201],
    [30, 'GET', '/api/runs/nobody', 404],
    [20, 'GET', '/health/live', 200],
    [30, 'GET', '/health/ready', 503],
  ])
})
