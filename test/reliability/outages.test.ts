import { readdir } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import WebSocket from 'ws'
import type { Script } from '../../examples/scripted-model/script.ts'
import { dense } from '../store/contract/support.ts'
import {
  audit,
  expectUnavailable,
  get,
  kill,
  kindsOf,
  linesOf,
  openStandInStore,
  post,
  runIn,
  Site,
  start,
  until,
  untilReady,
  untilStatus,
  watch,
} from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(async () => {
  await site[Symbol.asyncDispose]()
})

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })
const step = (n: number) => bash(`echo ${n} >> effects; sleep 0.05`)

/** A number of steps that each write their number to the file `effects`; then the goal is reached. */
const stepsOf = (count: number): Script => [
  ...Array.from({ length: count }, (_, n) => step(n)),
  bash('touch done'),
]

test('a server that starts without its store listens, and begins to work when the store is back', async () => {
  const standIn = await site.standIn()
  const model = await site.model((request) => {
    const held = request.messages.some(({ content }) => content.includes('HELD'))
    if (!held || request.turn > 0) return bash('touch done')
    return bash('touch held; sleep 600')
  })
  const args = ['--store', standIn.connectionString]
  const options = { model: model.url, args }
  const first = await site.serve('data', options)
  const ended = await start(first, await site.project('one'))
  const before = await untilStatus(first, ended, 'achieved')
  const cwd = await site.project('HELD')
  const unfinished = await start(first, cwd)
  await until(
    () => readdir(cwd),
    (names) => names.includes('held'),
  )
  await kill(first)

  await standIn.faults.down()
  const server = await site.serve('data', options)
  expect((await get(server, '/health/live')).status).toBe(200)
  const ready = await get(server, '/health/ready')
  expect(ready.status).toBe(503)
  expect(ready.body).toMatchObject({
    ready: false,
    checks: {
      store: { ok: false, detail: expect.stringContaining('EventStoreDB does not answer') },
    },
  })
  const read = await get(server, `/api/runs/${ended}`)
  expect(read.body).toEqual(before.body)
  expect(read.headers.get('etag')).toBe(before.headers.get('etag'))
  expect((await get(server, `/api/runs/${unfinished}`)).body.status).toBe('running')
  expect((await get(server, '/api/runs')).body).toHaveLength(2)
  expectUnavailable(await post(server, '/api/runs', runIn(cwd)))
  expectUnavailable(await post(server, `/api/runs/${unfinished}/abort`, {}))
  expectUnavailable(await post(server, `/api/runs/${unfinished}/resume`, { decision: 'approve' }))
  const watchers = [ended, unfinished].map((runId) => watch(server, runId))
  await delay(500)
  expect(watchers.map(({ socket }) => socket.readyState)).toEqual([WebSocket.OPEN, WebSocket.OPEN])

  await standIn.faults.up()
  await untilReady(server)
  await untilStatus(server, unfinished, 'achieved')
  const store = await openStandInStore(standIn)
  site.onClose(() => store.close())
  for (const [index, runId] of [ended, unfinished].entries()) {
    const records = await audit(store, runId)
    expect(await watchers[index]?.closed).toMatchObject({ code: 1000 })
    expect(watchers[index]?.seqs).toEqual(dense(0, records.length - 1))
    if (runId === unfinished) {
      expect(kindsOf(records).filter((kind) => kind === 'run_claimed')).toHaveLength(2)
    }
  }
})

test('an outage during runs costs only time', async () => {
  const standIn = await site.standIn()
  const model = await site.model(stepsOf(12))
  // A short deadline for calls without an answer keeps the test short.
  const args = ['--store', `${standIn.connectionString}&defaultDeadline=1000`]
  const server = await site.serve('data', { model: model.url, args })
  const cwds = await Promise.all([0, 1, 2, 3].map((n) => site.project(`project-${n}`)))
  const runIds = await Promise.all(cwds.map((cwd) => start(server, cwd, { max_iterations: 20 })))
  const watchers = runIds.map((runId) => watch(server, runId))
  const [runId = ''] = runIds
  const progress = (seq: number) =>
    until(
      async () => standIn.log.events(`run-${runId}`).length,
      (length) => length > seq,
    )

  await progress(10)
  await standIn.faults.down()
  await untilReady(server, 503)
  const read = await get(server, `/api/runs/${runId}`)
  expect(read.status).toBe(200)
  expect(read.headers.get('etag')).toMatch(/^"\d+"$/)
  expect(read.body.status).toBe('running')
  const commands = await Promise.all([
    post(server, '/api/runs', runIn(cwds[0] ?? '')),
    post(server, `/api/runs/${runId}/abort`, {}),
    post(server, `/api/runs/${runId}/resume`, { decision: 'approve' }),
  ])
  for (const answer of commands) expectUnavailable(answer)
  // By now the store has everything that arrived before the cut.
  const held = standIn.log.all.length
  await delay(1500)
  expect(standIn.log.all.length).toBe(held)
  for (const { socket } of watchers) expect(socket.readyState).toBe(WebSocket.OPEN)
  await standIn.faults.up()

  await progress(18)
  standIn.faults.nextAppends('lose_answer', 3)
  await progress(26)
  standIn.faults.nextAppends('stay_silent', 2)
  await progress(34)
  standIn.faults.nextAppends('swallow', 2)
  standIn.faults.endSubscriptions()
  await progress(42)
  standIn.faults.cutConnections()
  await Promise.all(runIds.map((id) => untilStatus(server, id, 'achieved')))
  await untilReady(server)

  const store = await openStandInStore(standIn)
  site.onClose(() => store.close())
  for (const [index, id] of runIds.entries()) {
    const records = await audit(store, id)
    expect(kindsOf(records).filter((kind) => kind === 'run_claimed')).toHaveLength(1)
    expect(await linesOf(site.path(`project-${index}`, 'effects'))).toEqual(
      dense(0, 11).map(String),
    )
    expect(await watchers[index]?.closed).toMatchObject({ code: 1000 })
    expect(watchers[index]?.seqs).toEqual(dense(0, records.length - 1))
  }
  // The log has nothing that was refused.
  const created = standIn.log.all.filter(({ type }) => type === 'run_created')
  expect(created).toHaveLength(runIds.length)
})

test('a network that goes silent is noticed within the deadline', async () => {
  const standIn = await site.standIn()
  const model = await site.model([bash('touch begun; sleep 2'), bash('touch done')])
  const args = ['--store', `${standIn.connectionString}&defaultDeadline=1000`]
  const server = await site.serve('data', { model: model.url, args })
  const cwd = await site.project()
  const runId = await start(server, cwd)
  await until(
    () => readdir(cwd),
    (names) => names.includes('begun'),
  )
  standIn.faults.freeze()
  const [ready, created, aborted, read] = await Promise.all([
    get(server, '/health/ready'),
    post(server, '/api/runs', runIn(cwd)),
    post(server, `/api/runs/${runId}/abort`, {}),
    get(server, `/api/runs/${runId}`),
  ])
  expect(ready.status).toBe(503)
  expect(ready.took).toBeLessThan(4_000)
  expectUnavailable(created)
  expectUnavailable(aborted)
  expect(read.status).toBe(200)
  standIn.faults.thaw()
  await untilReady(server)
  // An abort with an unknown outcome may be stored.
  const { body } = await until(
    () => get(server, `/api/runs/${runId}`),
    (answer) => answer.body.status !== 'running',
  )
  expect(['achieved', 'aborted']).toContain(body.status)
  const store = await openStandInStore(standIn)
  site.onClose(() => store.close())
  await audit(store, runId)
})
