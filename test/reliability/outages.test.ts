import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import WebSocket from 'ws'
import { dense } from '../store/contract/support.ts'
import {
  bash,
  linesOf,
  runIn,
  type SiteServer,
  until,
  untilLines,
  untilRecords,
} from '../support/site.ts'
import { test } from '../support/test.ts'
import { audit, claimsOf, expectUnavailable } from './support.ts'

/** A short deadline for calls without an answer keeps a test short. */
const soon = ({ connectionString }: { readonly connectionString: string }) => ({
  connectionString: `${connectionString}&defaultDeadline=1000`,
})

/** What a server prints from now on. */
function linesFrom({ process: { stdout } }: SiteServer): string[] {
  const lines: string[] = []
  if (stdout !== null) createInterface(stdout).on('line', (line) => lines.push(line))
  return lines
}

const isReady = (text: string): boolean =>
  text.includes('retrai is ready at') && /log_id\W+[0-9a-f]{8}-/.test(text)

test('a server that starts without its store listens, and begins to work when the store is back', async ({
  site,
}) => {
  const store = await site.standIn()
  const model = await site.model((request) => {
    const held = request.messages.some(({ content }) => content.includes('HELD'))
    return bash(held && request.turn === 0 ? 'echo held >> held; sleep 600' : 'touch done')
  })
  const first = await site.serve('data', { model, store })
  const ended = await first.start('one')
  const before = await first.untilStatus(ended, 'achieved')
  const unfinished = await first.start('HELD')
  await untilLines(site.path('HELD', 'held'), 0)
  await first.kill()

  await store.faults.down()
  const server = await site.serve('data', { model, store })
  const lines = linesFrom(server)
  expect((await server.get('/health/live')).status).toBe(200)
  expect(await server.get('/health/ready')).toMatchObject({
    status: 503,
    body: {
      ready: false,
      checks: {
        store: { ok: false, detail: expect.stringContaining('EventStoreDB does not answer') },
      },
    },
  })
  const read = await server.get(`/api/runs/${ended}`)
  expect(read.body).toEqual(before.body)
  expect(read.headers.get('etag')).toBe(before.headers.get('etag'))
  expect((await server.get(`/api/runs/${unfinished}`)).body.status).toBe('running')
  expect((await server.get('/api/runs')).body).toHaveLength(2)
  expectUnavailable(await server.post('/api/runs', runIn(site.path('HELD'))))
  const run = `/api/runs/${unfinished}`
  expectUnavailable(await server.post(`${run}/abort`, {}))
  expectUnavailable(await server.post(`${run}/resume`, { decision: 'approve' }))
  const watchers = [ended, unfinished].map((runId) => server.watch(runId))
  await delay(500)
  expect(watchers.map(({ socket }) => socket.readyState)).toEqual([WebSocket.OPEN, WebSocket.OPEN])

  expect(lines.join()).not.toContain('retrai is ready at')
  await store.faults.up()
  await until(() => lines.join('\n'), isReady)
  await server.untilReady()
  await server.untilStatus(unfinished, 'achieved')
  const log = await site.storeOf(store)
  for (const [index, runId] of [ended, unfinished].entries()) {
    const records = await audit(log, runId)
    expect(await watchers[index]?.closed).toMatchObject({ code: 1000 })
    expect(watchers[index]?.seqs).toEqual(dense(0, records.length - 1))
    if (runId === unfinished) expect(claimsOf(records)).toBe(2)
  }
})

test('an outage during runs costs only time', async ({ site }) => {
  const standIn = await site.standIn()
  const { faults, log } = standIn
  const steps = dense(0, 11).map((n) => bash(`echo ${n} >> effects; sleep 0.05`))
  const model = await site.model([...steps, bash('touch done')])
  const server = await site.serve('data', { model, store: soon(standIn) })
  const names = ['a', 'b', 'c', 'd']
  const runIds = await Promise.all(names.map((name) => server.start(name, { max_iterations: 20 })))
  const watchers = runIds.map((runId) => server.watch(runId))
  const [runId = ''] = runIds
  const run = `/api/runs/${runId}`

  await untilRecords(standIn, runId, 10)
  await faults.down()
  await server.untilReady(503)
  const read = await server.get(run)
  expect(read).toMatchObject({ status: 200, body: { status: 'running' } })
  expect(read.headers.get('etag')).toMatch(/^"\d+"$/)
  const commands = await Promise.all([
    server.post('/api/runs', runIn(site.path('a'))),
    server.post(`${run}/abort`, {}),
    server.post(`${run}/resume`, { decision: 'approve' }),
  ])
  for (const answer of commands) expectUnavailable(answer)
  // By now the store has everything that arrived before the cut.
  const held = log.all.length
  await delay(1500)
  expect(log.all.length).toBe(held)
  for (const { socket } of watchers) expect(socket.readyState).toBe(WebSocket.OPEN)
  await faults.up()
  await server.untilReady()

  // A network that goes silent is noticed within the deadline.
  faults.freeze()
  const [ready, resumed, silent] = await Promise.all([
    server.get('/health/ready'),
    server.post(`${run}/resume`, { decision: 'approve' }),
    server.get(run),
  ])
  faults.thaw()
  expect([ready.status, silent.status]).toEqual([503, 200])
  expect(ready.took).toBeLessThan(4_000)
  expectUnavailable(resumed)
  await server.untilReady()

  await untilRecords(standIn, runId, 18)
  faults.nextAppends('lose_answer', 3)
  await untilRecords(standIn, runId, 26)
  faults.nextAppends('stay_silent', 2)
  await untilRecords(standIn, runId, 34)
  faults.nextAppends('swallow', 2)
  faults.endSubscriptions()
  await untilRecords(standIn, runId, 42)
  faults.cutConnections()
  await Promise.all(runIds.map((id) => server.untilStatus(id, 'achieved')))
  await server.untilReady()

  const store = await site.storeOf(standIn)
  for (const [index, id] of runIds.entries()) {
    const records = await audit(store, id)
    expect(claimsOf(records)).toBe(1)
    expect(await linesOf(site.path(names[index] ?? '', 'effects'))).toEqual(
      dense(0, 11).map(String),
    )
    expect(await watchers[index]?.closed).toMatchObject({ code: 1000 })
    expect(watchers[index]?.seqs).toEqual(dense(0, records.length - 1))
  }
  // The log has nothing that was refused.
  expect(log.all.filter(({ type }) => type === 'run_created')).toHaveLength(runIds.length)
})
