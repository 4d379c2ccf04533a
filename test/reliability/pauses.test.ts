import { expect } from 'vitest'
import { bash } from '../support/site.ts'
import { test } from '../support/test.ts'

test('a paused run survives kill -9 of its server, and so does one that was resumed right before', async ({
  site,
}) => {
  const model = await site.model([bash('touch a'), bash('touch b'), bash('touch done')])
  const changes = { on_limit: 'pause', max_iterations: 1 }
  const killed = await site.serve('data', { model })
  const runId = await killed.start('project', changes)
  const paused = (await killed.untilStatus(runId, 'paused')).body.paused
  await killed.kill()

  const between = await site.serve('data', { model })
  expect((await between.get(`/api/runs/${runId}`)).body).toMatchObject({ status: 'paused', paused })
  const config = `/api/runs/${runId}/config`
  const raised = await between.ask('PATCH', config, { max_iterations: 2 })
  expect(raised.body).toMatchObject({ status: 'running' })
  await between.kill()

  const server = await site.serve('data', { model })
  await server.untilStatus(runId, 'paused')
  expect((await server.ask('PATCH', config, { max_iterations: 9 })).status).toBe(200)
  const { body } = await server.untilStatus(runId, 'achieved')
  expect(body).toMatchObject({ progress: { iteration: 3 }, end_reason: expect.any(String) })
  const verified = await server.retrai('export', runId, site.path('run.tar.gz'))
  expect([verified.code, verified.stderr]).toEqual([0, expect.any(String)])
  expect((await server.retrai('verify', site.path('run.tar.gz'))).stdout).toContain('holds')
})
