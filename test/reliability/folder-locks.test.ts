import { once } from 'node:events'
import { expect } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { kindsOf } from '../carry/support.ts'
import { bash, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'
import { prints } from './support.ts'

const script = [{ text: 'Nothing yet.' }, bash('touch done')]
const approve = (server: SiteServer, runId: string) =>
  server.post(`/api/runs/${runId}/resume`, { decision: 'approve' })

test('a run that waits keeps its folder through kill -9 of the server, and the next begins at its end', async ({
  site,
}) => {
  const model = await site.model(script)
  const server = await site.serve('data', { model })
  const one = await server.start('project', { hitl_enabled: true })
  await server.untilStatus(one, 'awaiting_human')
  const two = await server.start('project')
  const { body } = await server.untilStatus(two, 'queued')
  expect(body.queued_reason).toContain(one)
  const shared = await server.start('project', { shared: true, max_iterations: 1 })
  await server.untilStatus(shared, 'failed')
  expect((await server.get(`/api/runs/${shared}`)).body.workspace).toMatchObject({ mode: 'shared' })

  const back = (runId: string, how: object = {}) =>
    server.post(`/api/runs/${runId}/rollback`, { to: 0, ...how })
  const held = await back(shared)
  expect([held.status, held.body.detail]).toEqual([409, expect.stringContaining(one)])
  expect((await back(shared, { dry_run: true })).status).toBe(200)
  expect((await back(two)).body.type).toBe('urn:retrai:problem:run_at_work')
  // It holds the folder itself.
  expect((await back(one)).status).toBe(200)

  const dead = once(server.process, 'exit')
  server.process.kill('SIGKILL')
  await dead
  const again = await site.serve('data', { model })
  await again.untilStatus(two, 'queued')
  expect((await kindsOf(again, two)).filter((kind) => kind !== 'run_queued')).toEqual([
    'run_created',
  ])
  expect((await approve(again, one)).status).toBe(200)
  await again.untilStatus(one, 'achieved')
  await again.untilStatus(two, 'achieved')
})

test('servers that share a log agree whose turn it is', async ({ site }) => {
  const store = await site.standIn()
  const model = await site.model(script)
  const options = { model, store, env: { RETRAI_POOL: 'one', RETRAI_LEASE_SECONDS: '3' } }
  const first = await site.serve('data-1', options)
  const one = await first.start('project', { hitl_enabled: true })
  await first.untilStatus(one, 'awaiting_human')
  const second = await site.serve('data-2', options)
  const two = await second.start('project')
  const three = await first.start('project')
  for (const runId of [two, three]) {
    const { body } = await second.untilStatus(runId, 'queued')
    expect(body.queued_reason).toContain(one)
  }
  expect((await approve(second, one)).status).toBe(200)
  for (const runId of [one, two, three]) await second.untilStatus(runId, 'achieved')
  const spans = await Promise.all(
    [one, two, three].map(async (runId) => {
      const { text } = await second.get(`/api/runs/${runId}/events?kinds=step_start,run_end`)
      const times = JSON.parse(text).map(({ ts }: { ts: number }) => ts)
      return { from: times[0], to: times.at(-1) }
    }),
  )
  for (const [at, { from }] of spans.entries()) {
    expect(from).toBeGreaterThanOrEqual(spans[at - 1]?.to ?? 0)
  }
})

test('who joins a run after its end gets what was done with its files then', async ({ site }) => {
  const { server, runId } = await site.used([bash('echo x >x; touch done')])
  const client = createClient({ baseUrl: server.url })
  const watched = async (after = -1): Promise<string[]> => {
    const kinds: string[] = []
    for await (const { kind } of client.watch(runId, { kinds: 'all', after })) kinds.push(kind)
    return kinds
  }
  const streamed = async (after = -1): Promise<string> => {
    const path = `/api/runs/${runId}/events?kinds=all&after=${after}`
    return (await server.get(path, { accept: 'text/event-stream' })).text
  }
  const before = await watched()
  expect(before.at(-1)).toBe('run_end')
  const end = before.length - 1
  expect(await watched(end)).toEqual([])
  expect((await server.post(`/api/runs/${runId}/rollback`, { to: 0 })).status).toBe(200)
  expect(await watched()).toEqual([...before, 'files_rolled_back'])
  expect(await watched(end)).toEqual(['files_rolled_back'])
  expect(await watched(end + 1)).toEqual([])
  expect(await streamed()).toMatch(
    new RegExp(`"files_rolled_back"[\\s\\S]*event: end\\ndata: {"seq":${end + 1}}`),
  )
  expect(await streamed(end)).toContain('"files_rolled_back"')
  const answer = await server.get(`/api/runs/${runId}/events?after=${end + 1}`, {
    accept: 'text/event-stream',
  })
  expect(answer.status).toBe(204)
  const shown = await server.retrai('watch', runId)
  expect(shown).toMatchObject(prints(/Run achieved[\s\S]*files_rolled_back/))
  const { body } = await server.get(`/api/runs/${runId}/proof`)
  expect(body).toMatchObject({ length: end + 2, last_kind: 'files_rolled_back' })
  const file = site.path('run.tar.gz')
  expect((await server.retrai('export', runId, file)).code).toBe(0)
  expect((await server.retrai('import', file, '--data-dir', site.path('other'))).code).toBe(0)
  const imported = await site.serve('other')
  expect(await kindsOf(imported, runId)).toEqual([...before, 'files_rolled_back'])
  expect((await imported.get(`/api/runs/${runId}`)).body.status).toBe('achieved')
})
